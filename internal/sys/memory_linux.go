package sys

import (
	"bufio"
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// FreeMemory is how many bytes this process could still fill without the kernel
// having to kill somebody for them: MemAvailable of the machine or what the
// memory cgroups around the process still allow, whichever is less. What cannot
// be read does not limit. by names the limit, for error messages.
func FreeMemory() (n int64, by string) {
	n, by = math.MaxInt64, "nothing known"
	if m, ok := memAvailable(); ok {
		n, by = m, "MemAvailable"
	}
	for _, c := range memoryCgroups() {
		if rest, ok := c.rest(); ok && rest < n {
			n, by = rest, "the memory cgroup "+c.dir
		}
	}
	return max(n, 0), by
}

func memAvailable() (int64, bool) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, false
	}
	kib, ok := field(b, "MemAvailable:")
	return kib << 10, ok
}

// field finds "name value" at the start of a line of b.
func field(b []byte, name string) (int64, bool) {
	for line := range bytes.Lines(b) {
		f := bytes.Fields(line)
		if len(f) >= 2 && string(f[0]) == name {
			v, err := strconv.ParseInt(string(f[1]), 10, 64)
			return v, err == nil
		}
	}
	return 0, false
}

// A memoryCgroup is one directory of the memory controller that this process is
// under. The file names differ between the two versions of cgroups(7).
type memoryCgroup struct {
	dir                  string
	limit, usage, idleKV string
}

// rest is what the cgroup still allows. Page cache that was not used lately is
// counted in the usage but makes room by itself.
func (c memoryCgroup) rest() (int64, bool) {
	limit, ok := readInt(filepath.Join(c.dir, c.limit))
	if !ok { // "max", or not there
		return 0, false
	}
	usage, ok := readInt(filepath.Join(c.dir, c.usage))
	if !ok {
		return 0, false
	}
	if stat, err := os.ReadFile(filepath.Join(c.dir, "memory.stat")); err == nil {
		if idle, ok := field(stat, c.idleKV); ok {
			usage -= idle
		}
	}
	return limit - usage, true
}

func readInt(path string) (int64, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	v, err := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64)
	return v, err == nil
}

// memoryCgroups lists the cgroups with a memory controller around this process,
// the innermost first. A limit anywhere on the way up binds.
func memoryCgroups() []memoryCgroup {
	paths := cgroupPaths()
	var all []memoryCgroup
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		// 36 35 98:0 /root /mount/point options - fstype source superoptions
		left, right, ok := strings.Cut(s.Text(), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 5 || len(r) < 3 {
			continue
		}
		root, mount := l[3], l[4]
		proto := memoryCgroup{limit: "memory.max", usage: "memory.current", idleKV: "inactive_file"}
		path, in := paths[""]
		switch {
		case r[0] == "cgroup2":
		case r[0] == "cgroup" && strings.Contains(","+r[2]+",", ",memory,"):
			proto = memoryCgroup{limit: "memory.limit_in_bytes", usage: "memory.usage_in_bytes", idleKV: "total_inactive_file"}
			path, in = paths["memory"]
		default:
			continue
		}
		if !in {
			continue
		}
		// The mount may show only a part of the hierarchy (a container).
		rel, err := filepath.Rel(root, path)
		if err != nil || strings.HasPrefix(rel, "..") {
			rel = "."
		}
		for dir := filepath.Join(mount, rel); strings.HasPrefix(dir, mount); dir = filepath.Dir(dir) {
			c := proto
			c.dir = dir
			all = append(all, c)
			if dir == mount {
				break
			}
		}
	}
	return all
}

// cgroupPaths maps each controller to the process's path in its hierarchy; the
// unified hierarchy of version 2 is under "".
func cgroupPaths() map[string]string {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	paths := make(map[string]string)
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		for _, c := range strings.Split(f[1], ",") {
			paths[c] = f[2]
		}
	}
	return paths
}
