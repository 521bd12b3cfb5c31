package chaos

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// books reports steps of two peers, four samples a walk and two a step.
func books(change func(i int, s *Step)) *Audit {
	a := &Audit{}
	for i := range 5 {
		s := Step{View: 2, Steps: uint64(i + 1), Was: fmt.Sprint("s", i), Sum: fmt.Sprint("s", i+1), Walk: i / 2, Count: 4, Taken: []int{i % 2, 2 + i%2}}
		for _, id := range []string{"a", "b"} {
			s.ID = id
			if id == "b" {
				change(i, &s)
			}
			a.Add(s)
		}
	}
	return a
}

func TestAudit(t *testing.T) {
	if lost, err := books(func(int, *Step) {}).Verify(""); lost != 0 || err != nil {
		t.Errorf("good books: %d lost, %v", lost, err)
	}
	a := books(func(int, *Step) {})
	a.Add(Step{ID: "c", View: 1, Steps: 3, Was: "s2", Sum: "x", Taken: []int{0}})
	if lost, err := a.Verify(""); lost != 1 || err != nil {
		t.Errorf("one step was lost with its peer: %d lost, %v", lost, err)
	}
	a.Add(Step{ID: "c", View: 1, Steps: 4, Was: "x", Sum: "y"})
	wrong(t, a, "", "two groups: c went on to step 4")
	wrong(t, books(func(int, *Step) {}), "s9", "step 5, which led to the state s9")
	wrong(t, &Audit{}, "", "no step was reported")
	wrong(t, books(func(i int, s *Step) {
		if i == 2 {
			s.Sum = "z"
		}
	}), "", "in view 2, a and b end step 3 with different bits, s3 and z")
	wrong(t, books(func(i int, s *Step) { s.Taken = []int{0, 1} }), "", "position 0 of walk 1 was consumed twice, by steps 3 and 4")
	wrong(t, books(func(i int, s *Step) {
		if i == 1 {
			s.Taken = []int{3}
		}
	}), "", "walk 0 has consumed 3 of 4 samples")
}

func wrong(t *testing.T, a *Audit, end, want string) {
	t.Helper()
	if _, err := a.Verify(end); !errors.Is(err, ErrAudit) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}
