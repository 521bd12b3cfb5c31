//go:build !linux

package main

import (
	"context"
	"errors"
)

func pageIn(context.Context, string) error { return errors.ErrUnsupported }
