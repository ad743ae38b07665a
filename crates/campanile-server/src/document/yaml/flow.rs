//! How deep the brackets of a YAML text lie in each other. Owns that count alone: it tells brackets from those in quotes,
//! in comments and in blocks of text, builds nothing, and looks at each character once.
//!
//! Where YAML leaves it open without a whole reading, it counts too many rather than too few.

/// What stands before the next character.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Something may begin here: a quote would be one.
    Start,
    /// A word goes on.
    Word,
    /// A quoted text or a list has just ended.
    Closed,
}

struct Flow<'t> {
    chars: std::iter::Peekable<std::iter::Enumerate<std::str::Chars<'t>>>,
    depth: usize,
    before: Before,
    /// Whether a blank stands right before.
    blank: bool,
    /// The character with which the line begins.
    line_start: usize,
    column: usize,
    /// Where the innermost item or key of this line begins: what is indented further belongs to it.
    indent: usize,
    /// Whether a key's value comes on this line.
    value: bool,
}

/// The character at which more than `most` brackets are open.
pub(super) fn too_deep_at(text: &str, most: usize) -> Option<usize> {
    let mut flow = Flow {
        chars: text.chars().enumerate().peekable(),
        depth: 0,
        before: Before::Start,
        blank: true,
        line_start: 0,
        column: 0,
        indent: 0,
        value: false,
    };
    while let Some((at, c)) = flow.next() {
        flow.column = at.saturating_sub(flow.line_start);
        flow.step(c);
        if flow.depth > most {
            return Some(at);
        }
    }
    None
}

impl Flow<'_> {
    fn next(&mut self) -> Option<(usize, char)> {
        let (at, c) = self.chars.next()?;
        if c == '\n' {
            self.line_start = at + 1;
        }
        Some((at, c))
    }

    fn step(&mut self, c: char) {
        match c {
            '\n' | '\r' => {
                self.blank = true;
                self.value = false;
                if self.depth == 0 {
                    self.before = Before::Start;
                }
                return;
            }
            ' ' | '\t' => {
                self.blank = true;
                return;
            }
            _ => {}
        }
        if self.depth == 0 && self.before == Before::Start && !self.value {
            self.indent = self.column;
        }
        match c {
            '#' if self.blank => self.skip_line(),
            '[' | '{' => {
                self.depth += 1;
                self.before = Before::Start;
            }
            ']' | '}' => {
                self.depth = self.depth.saturating_sub(1);
                self.before = Before::Closed;
            }
            '"' | '\'' if self.before == Before::Start => {
                self.quoted(c);
                self.before = Before::Closed;
            }
            '|' | '>' if self.before == Before::Start && self.depth == 0 => self.block(),
            ',' if self.depth > 0 => self.before = Before::Start,
            ':' | '-' | '?' => self.indicator(c),
            '&' | '!' | '*' if self.before == Before::Start => self.property(),
            _ => self.before = Before::Word,
        }
        self.blank = false;
    }

    fn next_is_blank(&mut self) -> bool {
        self.chars.peek().is_none_or(|(_, c)| c.is_whitespace())
    }

    fn indicator(&mut self, c: char) {
        let blank = self.next_is_blank();
        let ends = self
            .chars
            .peek()
            .is_some_and(|(_, c)| matches!(c, ',' | '[' | ']' | '{' | '}'));
        let begins = match c {
            ':' => blank || self.depth > 0 && (ends || self.before == Before::Closed),
            _ => blank && self.before == Before::Start,
        };
        self.value |= begins && c == ':';
        self.before = if begins { Before::Start } else { Before::Word };
    }

    /// An anchor, a tag, an alias: what comes after it begins again.
    fn property(&mut self) {
        while self
            .chars
            .peek()
            .is_some_and(|(_, c)| !c.is_whitespace() && !matches!(c, ',' | '[' | ']' | '{' | '}'))
        {
            self.chars.next();
        }
    }

    fn skip_line(&mut self) {
        while self
            .chars
            .peek()
            .is_some_and(|(_, c)| *c != '\n' && *c != '\r')
        {
            self.chars.next();
        }
    }

    fn quoted(&mut self, quote: char) {
        while let Some((_, c)) = self.next() {
            let doubled = quote == '\'' && self.chars.peek().is_some_and(|(_, c)| *c == quote);
            if c == '\\' && quote == '"' || c == quote && doubled {
                self.next();
            } else if c == quote {
                return;
            }
        }
    }

    /// A block of text: the lines after it that are indented further than the line it begins on.
    fn block(&mut self) {
        let indent = self.indent;
        self.skip_line();
        loop {
            // The line's end, and the blanks of the next.
            let mut ahead = self.chars.clone();
            let Some((end, _)) = ahead.next() else { return };
            let mut blanks = 0;
            while ahead.peek().is_some_and(|(_, c)| *c == ' ') {
                blanks += 1;
                ahead.next();
            }
            let empty = ahead.peek().is_none_or(|(_, c)| *c == '\n' || *c == '\r');
            if !empty && blanks <= indent {
                return;
            }
            self.chars = ahead;
            self.line_start = end + 1;
            self.skip_line();
        }
    }
}
