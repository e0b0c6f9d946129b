//! Pipes as the threads beside a worker use them: by their numbers, and without a descriptor.

use std::os::fd::RawFd;

use super::World;
use super::network::{PAGE, Pipe};
use super::state::{Object, State};

impl World {
    /// A pipe that another thread empties: the descriptor that bytes go into, and its number for
    /// [`World::empty_pipe`].
    pub fn pipe(&self, bytes: u32) -> (u32, usize) {
        let mut state = self.state();
        let id = state.pipes.len();
        state.pipes.push(Pipe::new(bytes));
        let raw = state.install(Object::PipeIn(id));
        (raw.expect("the test leaves a descriptor to the pipe"), id)
    }

    /// A pipe between two threads of which none has a ring: its number.
    pub fn pipe_between(&self, bytes: u32) -> usize {
        let mut state = self.state();
        state.pipes.push(Pipe::new(bytes));
        state.pipes.len() - 1
    }

    /// Takes bytes out of a pipe, at most so many.
    pub fn empty_pipe(&self, pipe: usize, bytes_max: usize) -> Vec<u8> {
        let pipe = &mut self.state().pipes[pipe];
        pipe.take(pipe.held().min(bytes_max))
    }

    /// Puts bytes into a pipe; how many found room. What is no longer than a page goes in whole or
    /// not at all (PIPE_BUF).
    pub fn fill_pipe(&self, pipe: usize, bytes: &[u8]) -> usize {
        let pipe = &mut self.state().pipes[pipe];
        let room = pipe.room(0);
        if bytes.len() <= PAGE && bytes.len() > room {
            return 0;
        }
        let count = bytes.len().min(room);
        pipe.put(0, &bytes[..count]);
        count
    }

    /// Doubles the first bytes of a pipe into another; how many found room.
    pub fn tee_pipe(&self, from: usize, to: usize, count: usize) -> usize {
        let State { pipes, .. } = &mut *self.state();
        let pieces = pipes[from].first(count);
        pipes[to].put_pieces(pieces)
    }

    /// All bytes that a worker has written into a pipe so far; those that it doubled are left out.
    pub fn written_to_pipe(&self, pipe: usize) -> Vec<u8> {
        self.state().pipes[pipe].written.clone()
    }

    /// Bytes that lie in a pipe.
    pub fn pipe_holds(&self, pipe: usize) -> usize {
        self.state().pipes[pipe].held()
    }

    /// Whether nothing more goes into a pipe.
    pub fn pipe_is_full(&self, pipe: usize) -> bool {
        self.state().pipes[pipe].room(0) == 0
    }

    /// Whether a descriptor is open that bytes of a pipe come from.
    pub fn pipe_has_writer(&self, pipe: usize) -> bool {
        let state = self.state();
        let mut open = state.objects.iter().flatten();
        open.any(|object| matches!(object, Object::PipeIn(id) if *id == pipe))
    }

    /// A process that ends closes this descriptor, if it has not yet.
    pub fn end_with(&self, raw: u32) {
        let mut state = self.state();
        if state.object(raw as RawFd).is_some() {
            state.close(raw as RawFd);
        }
    }
}
