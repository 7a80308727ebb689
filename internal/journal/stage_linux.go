package journal

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/crash"
)

// makeStage makes the file of a stage, or empties it, and maps it.
func makeStage(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := errors.Join(f.Truncate(stageSize), allocate(f, 0, stageSize)); err != nil {
		return nil, err
	}
	// What stood in there counts no more, and must not: a power cut could make it look as if it went on where the log ends.
	if err := fill(f, stageHead, 2*stageHalf); err != nil {
		return nil, err
	}
	crash.At("journal.stage.emptied")
	if _, err := f.WriteAt(append([]byte(stageFormat), stageVersion), 0); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	// With MAP_POPULATE the pages are there: to touch one for the first time takes longer than a record.
	memory, err := unix.Mmap(int(f.Fd()), 0, stageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	return memory, os.NewSyscallError("mmap", err)
}

func unmapStage(memory []byte) { unix.Munmap(memory) }
