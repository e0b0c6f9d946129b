//! What the access log is told: of each answer that has ended, however it did.

use super::answer::Answered;
use super::context::{Context, Door};
use super::machine::Connection;
use super::outbox::{Outbox, Owed};
use super::stats::Farewell;
use crate::access_log::{Asked, Log, Mirrored, Record};
use crate::engines::Kind;
use crate::ring::Tap;

/// Keeps what the record of an answer needs of its request, which is given up now.
pub(super) fn note(
    answered: &Answered,
    outbox: &mut Outbox,
    cx: &mut Context<'_>,
    note: impl FnOnce(&mut Log) -> Option<Box<Asked>>,
) {
    if let Answered::Put { .. } = answered
        && let Some(log) = &mut cx.log
        && let Some(owed) = outbox.last()
    {
        owed.asked = note(log);
    }
}

/// Enters what an engine has doubled into the pipe of the log.
pub(super) fn mirrored(outbox: &mut Outbox, bytes: u64, cx: &mut Context<'_>) {
    if bytes == 0 {
        return;
    }
    let mirror = outbox.last().and_then(|owed| owed.mirror.as_mut());
    let (stream, so_far) = mirror.expect("only a body with a mirror has a tap");
    *so_far += bytes;
    let log = cx.log.as_mut().expect("only the log has bodies mirrored");
    log.mirrored(*stream, u32::try_from(bytes).expect("a turn moves less than 4 GiB"));
}

impl Connection {
    /// The pipe of the log, for a body that is to be mirrored: one that is a single span of a
    /// file.
    pub(super) fn tap(&mut self, cx: &mut Context<'_>) -> Option<Tap> {
        let log = cx.log.as_mut()?;
        let taken = self.outbox.taken();
        let owed = self.outbox.last()?;
        let wanted = owed.asked.as_ref().is_some_and(|asked| asked.mirrored);
        let splices = cx.options.engine == Kind::Splice;
        if !wanted || !splices || owed.in_parts || !log.takes_bodies() {
            return None;
        }
        if let Some((_, mirrored)) = owed.mirror {
            // A body that goes in parts, as long as nothing of it is missing.
            return (mirrored == owed.sent(taken).1).then(|| log.tap_again());
        }
        let (tap, stream) = log.tap();
        owed.mirror = Some((stream, 0));
        Some(tap)
    }

    /// Counts an answer that has ended, and records it.
    pub(super) fn end_answer(&mut self, owed: Owed, farewell: Farewell, cx: &mut Context<'_>) {
        cx.stats.responses(owed.answer.status).add(1);
        self.recorded += 1;
        if cx.log.is_none() {
            return;
        }
        let peer = owed.client.or_else(|| self.visitor.peer(&self.socket, cx));
        let (sent, body_sent) = owed.sent(self.outbox.taken());
        let Some(log) = &mut cx.log else { return };
        if owed.asked.is_none() && !log.records_unasked() {
            return;
        }
        let Owed { answer, first_byte, engine, ref asked, mirror, .. } = owed;
        let mirrored = mirror.map(|(_, bytes)| bytes);
        let wanted = asked.as_ref().is_some_and(|asked| asked.mirrored);
        let record = Record {
            asked: asked.as_deref(),
            peer,
            status: answer.status,
            sent,
            body_sent,
            body_owed: answer.body,
            duration: cx.io.now().since(answer.begun),
            first_byte: first_byte.map(|first| first.since(answer.begun)),
            engine,
            farewell: farewell.name(),
            range: answer.range,
            coding: answer.coding.token(),
            mirror: wanted.then(|| {
                let bytes = mirrored.unwrap_or(0);
                let whole = bytes == body_sent && bytes == answer.body;
                Mirrored { owed: answer.of_file && answer.body > 0, bytes, whole }
            }),
            connection: self.number,
            request: self.recorded,
            ended: cx.io.wall(),
        };
        let stream = mirror.filter(|(_, bytes)| *bytes > 0).map(|(stream, _)| stream);
        log.record(&record, stream, cx.io);
    }

    /// What is still owed is owed no more: the connection ends. Called at its end, whatever the
    /// reason.
    pub fn give_up_answers(&mut self, farewell: Farewell, cx: &mut Context<'_>) {
        while let Some(owed) = self.outbox.next_cut() {
            self.end_answer(owed, farewell, cx);
        }
    }

    /// Whether the next request has to wait until its record would find room. Who looks after the
    /// server by a listener for telemetry does not: that the log is full is what it wants to see.
    pub(super) fn waits_for_the_log(&mut self, cx: &mut Context<'_>) -> bool {
        if cx.door == Door::Telemetry {
            return false;
        }
        let (owner, now) = (cx.owner, cx.io.now());
        cx.log.as_mut().is_some_and(|log| log.holds_back(owner, now))
    }
}
