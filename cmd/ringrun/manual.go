package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/urfave/cli/v3"
)

// manual prints the manual page, for man(1).
func manual() *cli.Command {
	return &cli.Command{
		Name:  "man",
		Usage: "print the manual page: ringrun man > ringrun.1",
		Action: func(context.Context, *cli.Command) error {
			_, err := os.Stdout.Write(md2man.Render([]byte(manualText(optionFlags()))))
			return err
		},
	}
}

// manualText is what -h prints, in Markdown.
func manualText(flags []cli.Flag) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%% RINGRUN 1\n\n# NAME\n\nringrun - start peers that train together\n\n# SYNOPSIS\n\n"+
		"**ringrun** [options] PROG [arguments of PROG]\n\n# DESCRIPTION\n\n")
	b.WriteString(paragraphs(strings.TrimSuffix(helpHead, "Options:\n")))
	b.WriteString("# OPTIONS\n\n")
	for _, f := range flags {
		value, usage := flagHelp(f)
		fmt.Fprintf(&b, "**-%s** *%s*\n: %s\n\n", f.Names()[0], value, usage)
	}
	b.WriteString("# COMMANDS AND OUTPUT\n\n")
	b.WriteString(paragraphs(helpTail))
	return b.String()
}

// paragraphs turns indented lines into code and keeps the rest.
func paragraphs(text string) string {
	var b strings.Builder
	code := false
	for line := range strings.Lines(text) {
		if indented := strings.HasPrefix(line, "  "); indented != code {
			b.WriteString("\n")
			code = indented
		}
		if code {
			line = "  " + line
		}
		b.WriteString(line)
	}
	return b.String() + "\n"
}
