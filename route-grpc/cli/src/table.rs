//! Tables for people: columns of text, as wide as the terminal is.

use std::io::{self, IsTerminal};

use crate::failure::Failure;
use crate::show;

/// Between two columns.
const GAP: &str = "  ";

/// A column is not made narrower than this.
const NARROWEST: usize = 6;

/// Where the text of a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table. What does not fit into the terminal is cut in its widest columns; if they would be too narrow
/// to be read, the last columns are left out. Where the output is no terminal, all is shown.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these columns, and no rows. A title in small letters is written in capitals.
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// One more row: a text for each column.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.columns.len(), "a text for each column");
        self.rows.push(cells.into());
    }

    /// Writes it to standard output.
    pub(crate) fn print(&self) -> Result<(), Failure> {
        self.lines(width())
            .iter()
            .try_for_each(|line| show::line(line))
    }

    /// Its lines, at most so many characters wide if that can be.
    pub(crate) fn lines(&self, width: Option<usize>) -> Vec<String> {
        let titles: Vec<_> = self
            .columns
            .iter()
            .map(|(it, _)| it.to_uppercase())
            .collect();
        let mut widths: Vec<_> = titles.iter().map(|title| title.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        if let Some(width) = width {
            fit(&mut widths, width);
        }
        let all = [&titles].into_iter().chain(&self.rows);
        all.map(|row| self.line(row, &widths)).collect()
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let cells = row.iter().zip(&self.columns).zip(widths);
        let cells = cells.map(|((cell, (_, align)), &width)| {
            let cell = cut(cell, width);
            match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            }
        });
        let cells: Vec<_> = cells.collect();
        cells.join(GAP).trim_end().to_owned()
    }
}

/// Makes the widest columns narrower until all fit, or leaves out the last one.
fn fit(widths: &mut Vec<usize>, width: usize) {
    let all = |widths: &[usize]| widths.iter().sum::<usize>() + GAP.len() * (widths.len() - 1);
    while widths.len() > 1 && all(widths) > width {
        match widths.iter_mut().max() {
            Some(widest) if *widest > NARROWEST => *widest -= 1,
            _ => {
                widths.pop();
            }
        }
    }
    if let [only] = widths.as_mut_slice() {
        *only = width.min(*only);
    }
}

/// So many characters of it, with a mark where some are left out: near the beginning, for names and ids mostly begin
/// alike.
fn cut(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let head = kept / 3;
    let tail = text.chars().skip(count - (kept - head));
    text.chars().take(head).chain(['…']).chain(tail).collect()
}

/// How wide the terminal is, if the output is one.
fn width() -> Option<usize> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let (width, _) = terminal_size::terminal_size_of(stdout)?;
    Some(width.0.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&[("name", Align::Left), ("count", Align::Right)]);
        table.row(["msg-1".to_owned(), "7".to_owned()]);
        table.row(["a name that is long".to_owned(), "12345".to_owned()]);
        table
    }

    #[test]
    fn columns_are_as_wide_as_what_stands_in_them() {
        let lines = table().lines(None);

        assert_eq!(
            lines,
            [
                "NAME                 COUNT",
                "msg-1                    7",
                "a name that is long  12345",
            ]
        );
    }

    #[test]
    fn what_does_not_fit_is_cut_in_the_widest_column() {
        let lines = table().lines(Some(20));

        assert_eq!(
            lines,
            [
                "NAME           COUNT",
                "msg-1              7",
                "a na… is long  12345",
            ]
        );
        // Narrower columns nobody could read.
        assert_eq!(table().lines(Some(13))[2], "a…long  12345");
        assert_eq!(table().lines(Some(12))[2], "a…long");
        assert_eq!(table().lines(Some(3))[2], "…ng");
    }
}
