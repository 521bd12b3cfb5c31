package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"
	"go.yaml.in/yaml/v3"
)

// A configFile holds options by their names, and the program with its arguments:
//
//	n: 4
//	silence: 2s
//	H: [a:2, b:2]
//	program: ./cmd/mnist
//	args: [-epochs, 3]
//
// What stands on the command line counts more.
type configFile struct {
	Program string
	Args    []string
}

// readConfig sets the options of the file that the command line does not set.
func readConfig(c *cli.Command) (configFile, error) {
	var f configFile
	name := c.String("config")
	if name == "" {
		return f, nil
	}
	text, err := os.Open(name)
	if err != nil {
		return f, usagef("-config: %w", err)
	}
	defer text.Close()
	var doc yaml.Node
	if err := yaml.NewDecoder(text).Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return f, usagef("-config %s: %w", name, err)
	}
	if len(doc.Content) == 0 {
		return f, nil
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		return f, usagef("-config %s: want lines of the form option: value", name)
	}
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		if err := f.take(c, key.Value, value); err != nil {
			return f, usagef("-config %s, line %d: %w", name, key.Line, err)
		}
	}
	return f, nil
}

func (f *configFile) take(c *cli.Command, key string, value *yaml.Node) error {
	switch key {
	case "program":
		return value.Decode(&f.Program)
	case "args":
		return value.Decode(&f.Args)
	}
	known := slices.ContainsFunc(c.Flags, func(g cli.Flag) bool { return slices.Contains(g.Names(), key) })
	if !known || key == "config" || key == "help" {
		return fmt.Errorf("there is no option %q", key)
	}
	var words []string
	if value.Kind == yaml.SequenceNode {
		if err := value.Decode(&words); err != nil {
			return err
		}
	} else if value.Kind == yaml.ScalarNode {
		words = []string{value.Value}
	} else {
		return fmt.Errorf("%s: want a value or a list", key)
	}
	if c.IsSet(key) {
		return nil
	}
	if err := c.Set(key, strings.Join(words, ",")); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}
