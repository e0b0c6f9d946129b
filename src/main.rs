//! The program `pitcrew`.
fn main() {
    let mut o = pitcrew::server::Options::default();
    let a: Vec<String> = std::env::args().collect();
    o.engine = a[1].parse().unwrap();
    o.root = a[2].clone().into();
    o.workers = a[3].parse().unwrap();
    o.open_files_valid = std::time::Duration::from_secs(1);
    println!("{:?}", pitcrew::server::run(&o, false));
}
