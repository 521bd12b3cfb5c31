package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"charm.land/lipgloss/v2/table"
	"github.com/ringrun/ringrun/elastic"
	"github.com/urfave/cli/v3"
	"golang.org/x/term"
)

const topEvery = time.Second

func topCommand() *cli.Command {
	return &cli.Command{
		Name: "top", Usage: "watch a run: the ring, rates, and who waits for whom", ArgsUsage: "[ADDR]",
		Flags: askFlags(),
		Action: func(ctx context.Context, c *cli.Command) error {
			a, err := newAsker(c, c.Args().First())
			if err != nil {
				return err
			}
			if !term.IsTerminal(int(os.Stdout.Fd())) {
				return usagef("top needs a terminal; ringrun status -json prints the same once")
			}
			_, err = tea.NewProgram(topModel{ask: a, ctx: ctx}, tea.WithContext(ctx)).Run()
			return err
		},
	}
}

// A topModel is what the screen shows.
type topModel struct {
	ctx     context.Context
	ask     *asker
	answers []answer
	before  []answer // a tick ago
	took    time.Duration
	at      time.Time
	err     error
}

// news is what the peers have said.
type news struct {
	answers []answer
	err     error
	at      time.Time
}

func (m topModel) look() tea.Msg {
	answers, err := m.ask.all(m.ctx)
	return news{answers, err, time.Now()}
}

func (m topModel) Init() tea.Cmd { return m.look }

func (m topModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.KeyPressMsg:
		if k := msg.String(); k == "q" || k == "ctrl+c" || k == "esc" {
			return m, tea.Quit
		}
	case news:
		if m.err = msg.err; msg.err == nil {
			m.before, m.answers, m.took, m.at = m.answers, msg.answers, msg.at.Sub(m.at), msg.at
		}
		return m, tea.Tick(topEvery, func(time.Time) tea.Msg { return m.look() })
	}
	return m, nil
}

func (m topModel) View() tea.View {
	v := tea.NewView(m.text())
	v.AltScreen = true
	return v
}

var (
	topHead  = lipgloss.NewStyle().Bold(true).Padding(0, 1)
	topCell  = lipgloss.NewStyle().Padding(0, 1)
	topAlarm = lipgloss.NewStyle().Bold(true).Foreground(lipgloss.Red)
	topWarn  = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
	topFaint = lipgloss.NewStyle().Faint(true)
)

func (m topModel) text() string {
	var b strings.Builder
	switch {
	case m.err != nil:
		fmt.Fprintln(&b, topAlarm.Render(m.err.Error()))
	case m.answers == nil:
		fmt.Fprintln(&b, "asking", m.ask.addr, "…")
	}
	if len(m.answers) > 0 {
		fmt.Fprintf(&b, "%s\n%s\n%s\n", m.summary(), drawRing(m.answers), m.table())
		if who := blocking(m.answers); who != "" {
			fmt.Fprintln(&b, topAlarm.Render("all wait for "+who))
		}
		for _, s := range slow(m.answers) {
			fmt.Fprintln(&b, topWarn.Render(s.String()))
		}
	}
	fmt.Fprint(&b, topFaint.Render("q leaves"))
	return b.String()
}

func (m topModel) summary() string {
	first := m.answers[max(0, slices.IndexFunc(m.answers, func(a answer) bool { return a.err == nil }))].Status
	rate := 0.0
	if first.StepTime > 0 {
		rate = 1 / first.StepTime
	}
	return fmt.Sprintf("view %d · %s · %d steps · %.1f steps/s · %s, %s", first.Epoch, count(len(m.answers), "peer"),
		first.Steps, rate, first.Transport, first.Codec)
}

func (m topModel) table() string {
	heads := append(slices.Clone(statusHeads), "SENT/S")
	t := table.New().Headers(heads...).Border(lipgloss.HiddenBorder()).
		StyleFunc(func(row, _ int) lipgloss.Style {
			switch {
			case row == table.HeaderRow:
				return topHead
			case row < len(m.answers) && m.answers[row].err != nil:
				return topAlarm.Padding(0, 1)
			}
			return topCell
		})
	for _, a := range m.answers {
		t.Row(append(a.row(), m.sending(a))...)
	}
	return t.String()
}

// sending is what a peer has sent since the last tick, by the second.
func (m topModel) sending(a answer) string {
	i := slices.IndexFunc(m.before, func(b answer) bool { return b.peer.ID == a.peer.ID })
	if i < 0 || a.err != nil || m.before[i].Epoch != a.Epoch || a.Sent < m.before[i].Sent || m.took <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f MB", float64(a.Sent-m.before[i].Sent)/m.took.Seconds()/1e6)
}

// drawRing shows who sends to whom, and what each does.
func drawRing(answers []answer) string {
	marks := map[elastic.Phase]string{
		elastic.Computing: "●", elastic.Reducing: "◌", elastic.Waiting: "○", elastic.Applying: "◆",
	}
	var names []string
	for _, a := range answers {
		mark := topAlarm.Render("✕")
		if a.err == nil {
			mark = marks[a.Phase]
		}
		id, _, _ := strings.Cut(a.peer.ID, "-")
		names = append(names, mark+" "+id)
	}
	line := strings.Join(names, " → ")
	if len(names) > 1 {
		line += " → " + names[0]
	}
	return line + topFaint.Render("    ● computes  ◌ reduces  ◆ applies  ○ waits")
}
