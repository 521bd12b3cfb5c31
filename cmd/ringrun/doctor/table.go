package doctor

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"charm.land/lipgloss/v2"
	"charm.land/lipgloss/v2/table"
)

var (
	cell   = lipgloss.NewStyle().Padding(0, 1)
	head   = cell.Bold(true)
	strong = lipgloss.NewStyle().Bold(true)
	marks  = map[Status]lipgloss.Style{
		OK:   cell.Foreground(lipgloss.Green),
		Warn: cell.Foreground(lipgloss.Yellow).Bold(true),
		Fail: cell.Foreground(lipgloss.Red).Bold(true),
	}
)

// Print writes findings for people: all of them in a table, and then those that
// are not well, with what to do. Without width, lines are as long as they need be.
func Print(w io.Writer, findings []Finding, width int, colour bool) error {
	rows := slices.Clone(findings)
	t := table.New().Headers("", "WHERE", "CHECK", "FOUND").Border(lipgloss.HiddenBorder()).Wrap(true).
		StyleFunc(func(row, col int) lipgloss.Style {
			switch {
			case row == table.HeaderRow:
				return head
			case col == 0 && row < len(rows):
				return marks[rows[row].Status]
			}
			return cell
		})
	for _, f := range rows {
		t.Row(string(f.Status), f.Where(), f.Check, f.Found)
	}
	if width > 0 && lipgloss.Width(t.String()) > width {
		t = t.Width(width)
	}
	var b strings.Builder
	fmt.Fprintln(&b, t)
	bad := 0
	for _, f := range findings {
		if f.Status != OK {
			bad++
			fmt.Fprintf(&b, "%s\n", advice(f))
		}
	}
	fmt.Fprintln(&b, verdictLine(findings, bad))
	text := b.String()
	if !colour {
		text = plainText(text)
	}
	_, err := io.WriteString(w, text)
	return err
}

func advice(f Finding) string {
	return fmt.Sprintf("%s %s: %s\n  cause:  %s\n  remedy: %s\n",
		marks[f.Status].Padding(0).Render(string(f.Status)), strong.Render(f.Where()+", "+f.Check), f.Found, f.Cause, f.Remedy)
}

func verdictLine(findings []Finding, bad int) string {
	switch {
	case Sick(findings):
		return strong.Render("A run would not work.")
	case bad > 0:
		return strong.Render("A run would work.") + " See the warnings above."
	}
	return strong.Render("All is well.")
}

// plainText removes colours, and blanks at the ends of lines.
func plainText(text string) string {
	var b strings.Builder
	for line := range strings.Lines(stripStyles(text)) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

// stripStyles removes the sequences that lipgloss writes: ESC [ … m.
func stripStyles(s string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "\x1b[")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		_, s, _ = strings.Cut(after, "m")
	}
}
