package module

import (
	"strings"

	"cleave/platform/event/broker"
	"cleave/platform/traffic"
)

// snapshot is what the process has counted of the traffic between its modules.
func (h *Host) snapshot() traffic.Snapshot {
	s := h.traffic.Snapshot()
	s.Pipe, _, _ = strings.Cut(h.cfg.Events.Pipe, ":")
	if s.Pipe == "" {
		s.Pipe = broker.InProcess
	}
	for _, r := range h.modules() {
		s.Modules = append(s.Modules, r.spec.Name)
	}
	return s
}
