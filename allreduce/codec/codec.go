// Package codec has ways to make an all-reduce send fewer bytes.
package codec

import (
	"fmt"

	"github.com/ringrun/ringrun/allreduce"
)

// ByName returns a new codec of that name: "raw", "half" or "zstd".
func ByName(name string) (allreduce.Codec, error) {
	switch name {
	case "raw":
		return allreduce.Raw, nil
	case "half":
		return Half{}, nil
	case "zstd":
		return new(Zstd), nil
	}
	return nil, fmt.Errorf("codec: no codec %q, there are raw, half and zstd", name)
}
