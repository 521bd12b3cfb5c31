package allreduce

import "fmt"

// Header.Op says what kind of collective a frame belongs to, and the operation
// where there is one: an all-reduce has the bare Op, the other kinds that reduce
// add it to their own number. See op.go for the first four that do not.
const (
	allReduce     Op = 0
	allGather     Op = 20
	scatter       Op = 21
	gatherTo      Op = 22
	allToAll      Op = 23
	message       Op = 24 // not a collective: see letter
	grant         Op = 25 // likewise
	reduceScatter Op = 32
	reduceTo      Op = 48

	opMask = 15
)

// kindOf splits Header.Op.
func kindOf(b uint8) (kind, op Op) {
	if b >= uint8(broadcast) && b < uint8(reduceScatter) {
		return Op(b), 0
	}
	return Op(b &^ opMask), Op(b & opMask)
}

func kindName(op Op) string {
	switch op {
	case allGather:
		return "all-gather"
	case scatter:
		return "scatter"
	case gatherTo:
		return "gather"
	case allToAll:
		return "all-to-all"
	}
	return fmt.Sprintf("op %d", uint8(op))
}

// suits reports whether the operation can be applied to elements of the type.
func (op Op) suits(t Type) bool {
	return op <= Product || op <= Or && t.integral()
}
