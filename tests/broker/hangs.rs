//! Disks that hang while the broker opens what lies there.

use std::path::Path;

use crate::Site;
use crate::common::{children_of, eventually, skipped};
use crate::disk::{Call, Disk};
use crate::requests::{broker, told};

#[test]
fn what_hangs_is_begun_once_and_holds_up_nobody_else() {
    let site = Site::new("");
    let (log, slow) = (site.scratch.join("log"), site.scratch.join("slow"));
    std::fs::create_dir(&slow).unwrap();
    let disk = match Disk::mount(&slow) {
        Ok(disk) => disk,
        Err(error) => return skipped("a log on a disk that hangs", &format!("no FUSE: {error}")),
    };
    disk.make_names_known(2);
    let (slow, log) = (slow.display(), log.display());
    site.rewrite(&format!(
        "root = \"../root\"\n\
         access-log = [\"{slow}/1\", \"{slow}/2\", \"{log}/a.log\", \"|cat > /dev/null\"]\n"
    ));
    let (child, line) = broker(&site);
    disk.hang(Call::Open);
    let file = |number: u32, path: &str| {
        let (kind, text, _) = told(&line, number, format!("f{path}").as_bytes());
        (kind, text)
    };
    // A process for each of them that the disk keeps, and no other however often they are wanted.
    for name in ["1", "2"] {
        let (kind, why) = file(1, &format!("{slow}/{name}"));
        assert!(kind == b'f' && why.contains("takes too long"), "{why}");
    }
    for number in 2..20 {
        let (kind, why) = file(number, &format!("{slow}/{}", 1 + number % 2));
        assert!(kind == b'f' && why.contains("asked for before, and hangs"), "{why}");
    }
    assert_eq!(children_of(child.id()).len(), 2, "what waits for a disk gathers");
    // Everything else is done.
    assert_eq!(file(20, &format!("{log}/a.log")), (b'g', String::new()));
    assert!(Path::new(&format!("{log}/a.log")).exists());
    assert_eq!(told(&line, 21, b"pcat > /dev/null"), (b'g', String::new(), 2));
    // Once the disk answers it is asked again.
    disk.release();
    eventually("the disk has let them go", || children_of(child.id()).is_empty().then_some(()));
    assert_eq!(file(22, &format!("{slow}/1")), (b'g', String::new()));
}
