//go:build !linux

package process

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/standard"
	"github.com/go-multiproc/multiproc/internal/wire"
)

// warm would be the children that are ready. What makes the method safe (pidfds, the kernel killing children with their
// parent) is not here.
var warm stock

type stock struct{}

func (*stock) setOptions(ForkServerOptions)      {}
func (*stock) fillAndWait(context.Context) error { return errForkServer }
func (*stock) warmUp()                           {}
func (*stock) stop()                             {}

// A warmChild would be a child that is ready.
type warmChild struct{ began struct{ deaf bool } }

func (*warmChild) become(*Process) {}

func (*Process) startWarm(jobHeader, *handover.Message, standard.Variables, *os.File) (launched, *warmChild, error) {
	return launched{}, nil, errForkServer
}

func awaitJob(*wire.Conn) ([]byte, []int, bool, error) { return nil, nil, false, errForkServer }

func sayTaken(*wire.Conn) error { return errForkServer }

func (*job) adjust() error { return errForkServer }

func sparesInterrupt() bool { return false }

func beginsIdle(int) bool { return false }

var errForkServer = fmt.Errorf("start method forkserver is there on Linux only, use spawn or fork: %w", errors.ErrUnsupported)
