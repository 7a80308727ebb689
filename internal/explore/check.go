//go:build multiproc_explore

package explore

import (
	"testing"
)

// Check explores m and reports a violation as t's failure.
func Check(t testing.TB, m Model) Result {
	t.Helper()
	r, v := Run(m)
	t.Logf("explored %s: %v", m.Name, r)
	if v != nil {
		t.Fatal(v)
	}
	return r
}
