package sys

import (
	"os"
	"path/filepath"
)

// Files of a memory cgroup that count whom the OOM killer killed in it, whatever the reason: its own limit, one further up, the
// machine's memory. First the one that does not count in those below as well (Linux 5.2); the last is of cgroups version 1.
var oomKillFiles = []string{"memory.events.local", "memory.events", "memory.oom_control"}

// OOMKillFile returns the file that counts the OOM killer's victims in the memory cgroup of this process, "" if there is
// none.
func OOMKillFile() string {
	for _, c := range memoryCgroups() {
		for _, name := range oomKillFiles {
			path := filepath.Join(c.dir, name)
			if _, ok := OOMKills(path); ok {
				return path
			}
		}
	}
	return ""
}

// OOMKillFileIn returns such a file of the cgroup whose directory this is.
func OOMKillFileIn(dirfd int) string {
	dir, err := os.Readlink(procFD(dirfd))
	if err != nil {
		return ""
	}
	for _, name := range oomKillFiles {
		path := filepath.Join(dir, name)
		if _, ok := OOMKills(path); ok {
			return path
		}
	}
	return ""
}

// OOMKills reads how many processes the OOM killer has killed.
func OOMKills(path string) (int64, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	return field(b, "oom_kill")
}
