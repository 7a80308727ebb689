package value_test

import (
	"os/exec"
	"strings"
	"testing"
)

// The short cuts are worth it only where the compiler puts them into the caller,
// and it says whether it does.
func TestShortCutsAreInlined(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the package")
	}
	out, err := exec.Command("go", "test", "-c", "-o", "/dev/null", "-gcflags=-m=2", ".").CombinedOutput()
	if err != nil {
		t.Skipf("no go command: %v", err)
	}
	for _, method := range []string{"Load", "Store"} {
		if !strings.Contains(string(out), "can inline value.(*Value[go.shape.int64])."+method+" ") {
			t.Errorf("%s is not inlined", method)
		}
	}
}
