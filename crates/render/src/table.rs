//! Columns that line up.

/// Left-aligned columns with two spaces between, no lines, no trailing spaces.
#[derive(Debug, Clone, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
    indent: usize,
}

impl Table {
    /// A table with a line of headings.
    #[must_use]
    pub fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self::default().row(headings)
    }

    /// Puts so many spaces before every line.
    #[must_use]
    pub fn indent(mut self, spaces: usize) -> Self {
        self.indent = spaces;
        self
    }

    #[must_use]
    pub fn row<const N: usize>(mut self, cells: [&str; N]) -> Self {
        self.push(cells.map(ToOwned::to_owned).to_vec());
        self
    }

    /// Adds a line; line feeds in a cell become spaces. Rows may have fewer or more cells than others.
    pub fn push(&mut self, cells: Vec<String>) {
        self.rows.push(cells.into_iter().map(|cell| cell.replace('\n', " ")).collect());
    }

    /// The lines, without a line feed at the end. Colours count as width zero.
    #[must_use]
    pub fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width =
            |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|c| shown(c)).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        let lines: Vec<String> = self.rows.iter().map(|row| self.line(row, &widths)).collect();
        lines.join("\n")
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let mut line = " ".repeat(self.indent);
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width - shown(cell) + 2));
        }
        line.trim_end().to_owned()
    }
}

/// Characters that take a place; colour codes take none.
fn shown(cell: &str) -> usize {
    crate::clean(cell).chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_have_no_trailing_spaces() {
        let table = Table::new(["host", "live"])
            .row(["web1", "v1 (aaaa)", "blue"])
            .row(["\x1b[1mw\x1b[0m", ""])
            .indent(2);
        assert_eq!(table.text(), "  host  live\n  web1  v1 (aaaa)  blue\n  \x1b[1mw\x1b[0m");
        assert_eq!(Table::default().text(), "");
    }
}
