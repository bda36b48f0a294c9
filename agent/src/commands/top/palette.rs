//! How things are marked: in colours, or without any where `NO_COLOR` asks for that.

use ratatui_core::style::{Color, Modifier, Style};

use crate::schema::views::Level;

/// Which marks are used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Palette {
    has_colors: bool,
}

impl Palette {
    /// As `NO_COLOR` says: any value but an empty one turns colours off (no-color.org).
    pub(super) fn of(no_color: Option<&std::ffi::OsStr>) -> Self {
        Self { has_colors: no_color.is_none_or(std::ffi::OsStr::is_empty) }
    }

    /// A value, by how bad it is.
    pub(super) fn value(self, level: Level) -> Style {
        match (level, self.has_colors) {
            (Level::Fine, _) => Style::new(),
            (Level::Warn, true) => Style::new().fg(Color::Yellow),
            (Level::Warn, false) => Style::new().add_modifier(Modifier::BOLD),
            (Level::Critical, true) => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
            (Level::Critical, false) => Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
        }
    }

    /// The machine's line.
    pub(super) fn heading(self) -> Style {
        self.colored(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    /// The titles of the columns.
    pub(super) fn titles(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What rows are sorted by.
    pub(super) fn sorted(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED)
    }

    /// The row that is selected.
    pub(super) fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// Sparklines and bars.
    pub(super) fn bar(self) -> Style {
        self.colored(Color::Green)
    }

    /// Hints.
    pub(super) fn hint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    fn colored(self, color: Color) -> Style {
        if self.has_colors { Style::new().fg(color) } else { Style::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colours_levels_differ_all_the_same() {
        for no_color in ["1", "", "no"] {
            let palette = Palette::of(Some(no_color.as_ref()));
            let styles = [Level::Fine, Level::Warn, Level::Critical].map(|level| palette.value(level));
            assert!(styles[0] != styles[1] && styles[1] != styles[2] && styles[0] != styles[2]);
            let is_colored = styles.iter().any(|style| style.fg.is_some()) || palette.heading().fg.is_some();
            assert_eq!(is_colored, no_color.is_empty());
        }
        assert!(Palette::of(None).value(Level::Warn).fg.is_some());
    }
}
