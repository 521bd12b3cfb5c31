package docs

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/ringrun/ringrun/"

// A row of the table says what a package may import.
type row struct{ ours, others []string }

// TestLayers holds the imports to the table of layers in architecture.md.
func TestLayers(t *testing.T) {
	table := readTable(t)
	seen := make(map[string]bool)
	for _, p := range listPackages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		key, r, ok := find(table, name)
		if !ok {
			t.Errorf("package %s has no row in docs/architecture.md", name)
			continue
		}
		seen[key] = true
		if slices.Contains(r.ours, "anything") {
			continue
		}
		for _, imp := range p.Imports {
			if !allowed(imp, name, r) {
				t.Errorf("package %s imports %s, which its row in docs/architecture.md does not allow", name, imp)
			}
		}
	}
	for key := range table {
		if !seen[key] {
			t.Errorf("docs/architecture.md has a row for %s, which is no package", key)
		}
	}
}

// find returns the row for a package: its own, or the one of `folder/*`.
func find(table map[string]row, name string) (string, row, bool) {
	if r, ok := table[name]; ok {
		return name, r, true
	}
	if i := strings.Index(name, "/"); i > 0 {
		key := name[:i] + "/*"
		r, ok := table[key]
		return key, r, ok
	}
	return "", row{}, false
}

func allowed(imp, name string, r row) bool {
	if rest, ok := strings.CutPrefix(imp, module); ok {
		return slices.Contains(r.ours, rest) || strings.HasPrefix(rest, name+"/internal/")
	}
	first, _, _ := strings.Cut(imp, "/")
	if !strings.Contains(first, ".") {
		return true // standard library
	}
	return slices.ContainsFunc(r.others, func(o string) bool { return strings.Contains(imp, o) })
}

// readTable reads the rows between the lines "| package |" and the next empty one.
func readTable(t *testing.T) map[string]row {
	t.Helper()
	text, err := os.ReadFile("architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	table := make(map[string]row)
	in := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "| package |"):
			in = true
		case !strings.HasPrefix(line, "|"):
			in = false
		case in && !strings.HasPrefix(line, "|---"):
			cells := strings.Split(strings.Trim(line, "|"), "|")
			if len(cells) != 3 {
				t.Fatalf("row %q has %d cells, want 3", line, len(cells))
			}
			for _, p := range words(cells[0]) {
				table[p] = row{words(cells[1]), words(cells[2])}
			}
		}
	}
	if len(table) == 0 {
		t.Fatal("architecture.md has no table of layers")
	}
	return table
}

func words(cell string) []string {
	cell = strings.NewReplacer("`", "", ",", " ", "–", " ").Replace(cell)
	return strings.Fields(cell)
}

type listed struct {
	ImportPath string
	Imports    []string
}

func listPackages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		if p.ImportPath != module+"docs" {
			all = append(all, p)
		}
	}
}
