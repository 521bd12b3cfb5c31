// A module of its own, so that what uses ringrun does not depend on avo.
module github.com/ringrun/ringrun/allreduce/internal/simd/gen

go 1.26.0

require github.com/mmcloughlin/avo v0.5.0

require (
	golang.org/x/mod v0.23.0 // indirect
	golang.org/x/sync v0.11.0 // indirect
	golang.org/x/tools v0.30.0 // indirect
)
