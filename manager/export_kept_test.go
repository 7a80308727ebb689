package manager

import (
	"strings"

	"github.com/go-multiproc/multiproc/process"
)

// KillServers kills all servers that this process has started and that have not ended.
func KillServers() {
	for _, p := range process.Children() {
		if strings.HasPrefix(p.Name, "Manager-") {
			p.Kill()
		}
	}
}
