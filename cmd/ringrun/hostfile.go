package main

import (
	"fmt"
	"os"
	"strings"
)

// readHostFile reads hosts, one a line, as Open MPI and Horovod write them, or
// as -H does:
//
//	a slots=4
//	me@b:4
//	[fe80::1]:2   # all that follows a # is a comment
func readHostFile(name string) ([]host, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return parseHostLines(string(text))
}

// parseHostLines reads the lines of such a file.
func parseHostLines(text string) ([]host, error) {
	var list []string
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		entry, err := hostLine(words)
		if err == nil {
			_, err = parseHost(entry)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		list = append(list, entry)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no host is named")
	}
	return parseHosts(strings.Join(list, ","))
}

// hostLine returns the words of a line as one entry of -H.
func hostLine(words []string) (string, error) {
	entry := words[0]
	for _, w := range words[1:] {
		slots, ok := strings.CutPrefix(w, "slots=")
		switch {
		case !ok:
			return "", fmt.Errorf("%q: want slots=N after the name of the host", w)
		case strings.Contains(strings.TrimPrefix(entry, "["), ":") && !strings.HasSuffix(entry, "]"):
			return "", fmt.Errorf("%q and %q both give a number of slots", entry, w)
		}
		entry += ":" + slots
	}
	return entry, nil
}
