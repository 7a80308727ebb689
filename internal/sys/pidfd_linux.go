package sys

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// PidfdSignal sends a signal to the process behind a pidfd. Unlike kill(2) it can not hit a stranger that was given the
// pid meanwhile. A process that has ended is os.ErrProcessDone.
func PidfdSignal(pidfd int, sig syscall.Signal) error {
	err := unix.PidfdSendSignal(pidfd, sig, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return os.ErrProcessDone
	}
	return os.NewSyscallError("pidfd_send_signal", err)
}

// PidfdWait collects the child behind a pidfd if it has ended, and else reports that it has not. It does not block: a
// pidfd polls as readable when its process has ended. What it used
// includes what the children used that it collected.
func PidfdWait(pidfd int) (status syscall.WaitStatus, used Usage, ended bool, err error) {
	var info siginfoChild
	var usage unix.Rusage
	err = IgnoringEINTR(func() error { return waitidPidfd(pidfd, &info, unix.WEXITED|unix.WNOHANG, &usage) })
	if errors.Is(err, unix.EAGAIN) { // what a non-blocking pidfd says for "not yet", whatever the options
		return 0, Usage{}, false, nil
	}
	if err != nil {
		return 0, Usage{}, false, os.NewSyscallError("waitid", err)
	}
	if info.pid == 0 {
		return 0, Usage{}, false, nil
	}
	return info.status(), Usage{
		CPU:  time.Duration(usage.Utime.Nano() + usage.Stime.Nano()),
		Peak: usage.Maxrss << 10,
	}, true, nil
}

// PidfdWorks reports whether the kernel, and what filters its calls, has all that PidfdWait and PidfdSignal need
// (Linux 5.4). It asks with a pidfd of a living child, and changes nothing.
func PidfdWorks(pidfd int) bool {
	var info siginfoChild
	err := IgnoringEINTR(func() error { return waitidPidfd(pidfd, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) })
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		return false
	}
	err = PidfdSignal(pidfd, 0)
	return err == nil || errors.Is(err, os.ErrProcessDone)
}
