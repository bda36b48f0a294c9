//! A screen that is written line by line, of any size. Pure.

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::Style;
use ratatui_core::text::Line;

use super::palette::Palette;
use crate::views::fit::printable;

/// How it is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) palette: Palette,
    /// Whether the terminal shows what is not ASCII.
    pub(super) is_unicode: bool,
}

/// A screen that is drawn line by line.
pub(super) struct Canvas<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
    pub(super) look: Look,
    /// The next line.
    at: u16,
}

impl<'a> Canvas<'a> {
    pub(super) fn new(buffer: &'a mut Buffer, look: Look) -> Self {
        let area = buffer.area;
        Self { buffer, area, look, at: 0 }
    }

    /// The next line.
    pub(super) fn at(&self) -> u16 {
        self.at
    }

    /// The columns of the screen.
    pub(super) fn width_u16(&self) -> u16 {
        self.area.width
    }

    /// Goes on with the last line, unless that is written.
    pub(super) fn go_to_last(&mut self) {
        self.at = self.area.height.saturating_sub(1).max(self.at);
    }

    pub(super) fn width(&self) -> usize {
        usize::from(self.area.width)
    }

    /// Lines that are left.
    pub(super) fn left(&self) -> usize {
        usize::from(self.area.height.saturating_sub(self.at))
    }

    /// Writes the next line, if there is one.
    pub(super) fn line(&mut self, line: &Line<'_>) {
        if self.at < self.area.height {
            self.buffer.set_line(self.area.x, self.area.y + self.at, line, self.area.width);
            self.at += 1;
        }
    }

    /// Writes a text in one style.
    pub(super) fn text(&mut self, text: &str, style: Style) {
        let text = printable(text, self.look.is_unicode);
        self.line(&Line::styled(text, style));
    }

    /// Styles the whole of the line before.
    pub(super) fn restyle_last(&mut self, style: Style) {
        if self.at > 0 {
            let line = Rect { y: self.area.y + self.at - 1, height: 1, ..self.area };
            self.buffer.set_style(line, style);
        }
    }
}
