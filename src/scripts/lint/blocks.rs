//! The blocks of a source that are open at a word, with their local variables. `lint` follows them for its rules.

use std::collections::HashSet;

use super::words::{WordPlace, Words};

/// The open blocks, the innermost one last.
pub(super) struct Blocks(Vec<Block>);

/// A block that has been opened.
pub(super) struct Block {
    /// Its kind.
    pub kind: BlockKind,
    /// The place of the word that opened it.
    pub opened_at: WordPlace,
    /// True if something in it ends the loop.
    pub ends: bool,
    /// The local variables that end with it.
    locals: HashSet<String>,
    /// True between `while` or `for` and its `do`.
    awaits_do: bool,
}

/// The kind of a block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockKind {
    Function,
    /// `while true`, which only a statement in it ends.
    EndlessLoop,
    /// `repeat`, whose end is judged by its condition.
    Repeat,
    /// The braces of a table.
    Table,
    Other,
}

impl Blocks {
    /// The block of a whole source, which is a function to Lua.
    pub fn of_chunk() -> Blocks {
        Blocks(vec![Block::new(BlockKind::Function, WordPlace::default())])
    }

    /// True if the innermost block is a table.
    pub fn are_in_table(&self) -> bool {
        self.0.last().is_some_and(|block| block.kind == BlockKind::Table)
    }

    /// True if a local variable of this name can be seen.
    pub fn have_local(&self, name: &str) -> bool {
        self.0.iter().any(|block| block.locals.contains(name))
    }

    /// Opens a block or declares its local variables where a word does that. Returns the block that the word closes.
    pub fn follow(&mut self, words: &Words, at: usize) -> Option<Block> {
        match words.text(at) {
            "function" => self.open_function(words, at),
            "while" => {
                let is_endless = words.text(at + 1) == "true" && words.text(at + 2) == "do";
                let kind = if is_endless { BlockKind::EndlessLoop } else { BlockKind::Other };
                self.open(Block { awaits_do: true, ..Block::new(kind, words.place(at)) });
            }
            "for" => {
                let block = Block::new(BlockKind::Other, words.place(at));
                self.open(Block { awaits_do: true, ..block });
                self.declare_list(words, at + 1);
            }
            "if" => self.open(Block::new(BlockKind::Other, words.place(at))),
            "repeat" => self.open(Block::new(BlockKind::Repeat, words.place(at))),
            "do" => match self.0.last_mut().filter(|block| block.awaits_do) {
                Some(block) => block.awaits_do = false,
                None => self.open(Block::new(BlockKind::Other, words.place(at))),
            },
            "{" => self.open(Block::new(BlockKind::Table, words.place(at))),
            "local" if words.text(at + 1) != "function" => self.declare_list(words, at + 1),
            "break" => self.mark_end(false),
            "return" | "error" => self.mark_end(true),
            "}" | "end" | "until" => return self.0.pop(),
            _ => {}
        }
        None
    }

    fn open(&mut self, block: Block) {
        self.0.push(block);
    }

    /// Opens a function with its parameters. Its own name, where it is a local variable, is one of the block around.
    fn open_function(&mut self, words: &Words, at: usize) {
        if words.text_before(at) == "local" {
            self.declare(words, at + 1);
        }
        self.open(Block::new(BlockKind::Function, words.place(at)));
        let opened = (at..at + 8).find(|place| words.text(*place) == "(");
        self.declare_list(words, opened.unwrap_or(at) + 1);
    }

    /// Declares names with one word between each two of them.
    fn declare_list(&mut self, words: &Words, at: usize) {
        let mut place = at;
        while self.declare(words, place) && words.text(place + 1) == "," {
            place += 2;
        }
    }

    /// Declares a local variable of the innermost block; returns false where the word is no name.
    fn declare(&mut self, words: &Words, at: usize) -> bool {
        let (Some(name), Some(block)) = (words.name(at), self.0.last_mut()) else { return false };
        block.locals.insert(name.to_owned());
        true
    }

    /// Records that a statement ends the innermost loop, or with `all` every loop of the function.
    fn mark_end(&mut self, all: bool) {
        for block in self.0.iter_mut().rev() {
            block.ends = true;
            let is_loop = matches!(block.kind, BlockKind::EndlessLoop | BlockKind::Repeat);
            if block.kind == BlockKind::Function || is_loop && !all {
                return;
            }
        }
    }
}

impl Block {
    fn new(kind: BlockKind, opened_at: WordPlace) -> Block {
        Block { kind, opened_at, ends: false, locals: HashSet::new(), awaits_do: false }
    }
}
