package inspect

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/seg"
)

func users(files []File) (map[File][]User, error) {
	wanted := make(map[File]bool, len(files))
	for _, f := range files {
		wanted[f] = true
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("who uses a segment is read from /proc, which is not there: %w: %w", err, errors.ErrUnsupported)
	}
	found := map[File][]User{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// Whatever fails from here on: the process has ended, or is not ours to see.
		for f, u := range look(pid, wanted) {
			found[f] = append(found[f], *u)
		}
	}
	for _, us := range found {
		slices.SortFunc(us, func(a, b User) int { return a.PID - b.PID })
	}
	return found, nil
}

// An area is where a process has some of a file in its memory.
type area struct {
	file       File
	start, end uint64 // addresses
	offset     int64  // in the file
}

// look finds which of the files the process uses.
func look(pid int, wanted map[File]bool) map[File]*User {
	dir := fmt.Sprintf("/proc/%d/", pid)
	areas := mapped(dir, wanted)
	if len(areas) == 0 {
		return nil
	}
	comm, _ := os.ReadFile(dir + "comm")
	command := string(bytes.TrimSpace(comm))
	us := map[File]*User{}
	for _, a := range areas {
		if us[a.file] == nil {
			us[a.file] = &User{PID: pid, Command: command}
		}
	}
	tokens(dir, us)
	sleepers(dir, areas, us)
	for _, u := range us {
		slices.Sort(u.Asleep)
	}
	return us
}

// mapped reads where a process has the files in its memory, from lines like
//
//	7f1c9c000000-7f1c9c021000 rw-s 00000000 00:1b 15955    /dev/shm/prices
func mapped(dir string, wanted map[File]bool) []area {
	f, err := os.Open(dir + "maps")
	if err != nil {
		return nil
	}
	defer f.Close()
	var all []area
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 || fields[4] == "0" {
			continue
		}
		var a area
		var offset, major, minor uint64
		from, to, _ := strings.Cut(fields[0], "-")
		maj, min, _ := strings.Cut(fields[3], ":")
		if parse(&a.start, from, 16) && parse(&a.end, to, 16) && parse(&offset, fields[2], 16) &&
			parse(&major, maj, 16) && parse(&minor, min, 16) && parse(&a.file.Ino, fields[4], 10) {
			a.file.Dev = unix.Mkdev(uint32(major), uint32(minor))
			a.offset = int64(offset)
			if wanted[a.file] {
				all = append(all, a)
			}
		}
	}
	return all
}

func parse(p *uint64, s string, base int) bool {
	n, err := strconv.ParseUint(s, base, 64)
	*p = n
	return err == nil
}

// tokens finds the tokens of a process by the locks that its descriptors hold:
//
//	lock:	1: OFDLCK ADVISORY  WRITE -1 00:1b:15955 2305843009213693959 2305843009213693959
func tokens(dir string, us map[File]*User) {
	fds, _ := os.ReadDir(dir + "fd")
	for _, fd := range fds {
		var st unix.Stat_t
		if unix.Stat(dir+"fd/"+fd.Name(), &st) != nil {
			continue
		}
		u := us[File{st.Dev, st.Ino}]
		if u == nil {
			continue
		}
		info, _ := os.ReadFile(dir + "fdinfo/" + fd.Name())
		for line := range strings.Lines(string(info)) {
			fields := strings.Fields(line)
			if len(fields) != 9 || fields[0] != "lock:" || fields[2] != "OFDLCK" {
				continue
			}
			var first, last uint64
			if parse(&first, fields[7], 10) && parse(&last, fields[8], 10) && first == last {
				if t, ok := seg.TokenAt(first); ok {
					u.Token = t
				}
			}
		}
	}
}

// sleepers finds the words that the threads of a process sleep on: the first argument of a
// futex call, as in
//
//	202 0x7f1c9c000040 0x9 0x1a45 0xc000054e38 0x0 0x2 0x7fff… 0x55…
func sleepers(dir string, areas []area, us map[File]*User) {
	tasks, _ := os.ReadDir(dir + "task")
	for _, t := range tasks {
		call, _ := os.ReadFile(dir + "task/" + t.Name() + "/syscall")
		number, rest, _ := strings.Cut(string(call), " ")
		if number != futexCall {
			continue
		}
		arg, _, _ := strings.Cut(rest, " ")
		var at uint64
		if !parse(&at, strings.TrimPrefix(arg, "0x"), 16) {
			continue
		}
		for _, a := range areas {
			if at >= a.start && at < a.end {
				u := us[a.file]
				u.Asleep = append(u.Asleep, a.offset+int64(at-a.start))
			}
		}
	}
}

var futexCall = map[string]string{"amd64": "202", "arm64": "98"}[runtime.GOARCH]
