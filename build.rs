//! Tells cargo what else the program is made of.

fn main() {
    // `include_dir!` sees edits by itself, but not files that are new.
    println!("cargo::rerun-if-changed=migrations-lua");
}
