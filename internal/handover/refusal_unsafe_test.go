package handover_test

import (
	"testing"
	"unsafe"

	"github.com/go-multiproc/multiproc/internal/handover"
)

func TestAddressesAreRefused(t *testing.T) {
	x := 1
	_, err := handover.Marshal(map[string]unsafe.Pointer{"k": unsafe.Pointer(&x)}, "args")
	mustFail(t, err, `args["k"]: an unsafe.Pointer cannot be passed to another process: addresses mean nothing there`)
}
