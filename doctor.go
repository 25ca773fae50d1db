package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/store"
)

func doctorFlags(fs *flag.FlagSet, s *settings) {
	listenFlags(fs, s)
	jsonFlag(fs, s)
	fs.BoolVar(&s.support, "support", false, "print a report for a bug report, with nothing secret or personal in it, and end with 0")
	fs.BoolVar(&s.ballast, "release-ballast", false, "delete the file that is kept for a full disk, so that there is room to work")
}

// finding is one line of the doctor's report.
type finding struct {
	Part   string `json:"part"`
	OK     bool   `json:"ok"`
	Says   string `json:"says"`             // what is, or what is wrong
	Effect string `json:"effect,omitempty"` // what does not work because of it, and what to do
}

// doctor looks at every part by itself and says what is wrong, in words. It exits
// with 1 when something is.
func doctor(ctx context.Context, s *settings, args []string) error {
	if len(args) > 0 {
		return usagef("doctor takes no arguments")
	}
	if s.ballast { // before the store is opened: with a full disk it cannot be
		freed, err := store.ReleaseBallast(s.storeURL())
		if err != nil {
			return err
		}
		if freed == 0 {
			fmt.Fprintf(s.err, "there is no ballast beside %s, or its room is used: see that --data and --store name the store, and make room by hand on its disk (old backups, logs)\n", s.shownStore())
		} else {
			fmt.Fprintf(s.err, "%d bytes are free now; make more room soon, then the file is laid again\n", freed)
		}
	}
	s.diagnoses = true
	findings, clock := []finding{s.checkDefinitions()}, s.checkClock() // which opening the store would set right
	h, err := open(ctx, s)
	if err != nil {
		findings = append(findings, finding{"key and store", false, err.Error(), s.storeEffect(err)})
	} else {
		defer h.Close()
		findings = append(findings, h.checkKey(), h.checkStore(ctx), h.checkAudit(ctx), h.checkConnections(ctx), h.checkPort(ctx))
		findings = append(findings, h.checkCertificate(ctx)...)
	}
	findings = append(findings, clock, s.checkChromium(ctx), s.checkFlags())
	if s.support {
		return s.printSupport(ctx, h, findings)
	}
	wrong := false
	for _, f := range findings {
		wrong = wrong || !f.OK
		if s.json {
			if err := json.NewEncoder(s.out).Encode(f); err != nil {
				return err
			}
			continue
		}
		mark := "ok   "
		if !f.OK {
			mark = "WRONG"
		}
		fmt.Fprintf(s.out, "%s  %-14s %s\n", mark, f.Part, strings.ReplaceAll(f.Says, "\n", "\n"+strings.Repeat(" ", 22)))
		if f.Effect != "" {
			fmt.Fprintf(s.out, "                      %s\n", f.Effect)
		}
	}
	if wrong {
		return errors.New("something is wrong; the lines above say what, and what to do")
	}
	return nil
}

func (s *settings) storeEffect(err error) string {
	if s.firstTime(err) {
		return "when there was none yet, the first latchpost stdio, serve, connect or app set makes it"
	}
	return "nothing works until this is mended"
}

func (s *settings) checkDefinitions() finding {
	c, err := s.definitions()
	if err != nil {
		return finding{"definitions", false, err.Error(), "correct them, or start without --providers: stdio, serve and connect refuse to, all else goes on without them"}
	}
	return finding{"definitions", true, fmt.Sprintf("%d providers", len(c.Search("", "", 10000))), ""}
}

func (h *house) checkKey() finding {
	return finding{"key", true, "opens this store (" + shownKey(h.settings.keyURL()) + ", id " + h.keys.used.ID() + ")", ""}
}

// troubleShown is how long a disk that failed once is called wrong.
const troubleShown = 7 * 24 * time.Hour

func (h *house) checkStore(ctx context.Context) finding {
	failed, err := h.db.FailedAt(ctx)
	if err = cmp.Or(h.db.Check(ctx), err); err != nil {
		return finding{"store", false, err.Error(), "what it holds may be lost in part; latchpost restore brings back a backup"}
	}
	if h.cannotWrite != nil {
		return finding{"store", false, h.cannotWrite.Error(), "what is there can be looked at, and nothing else works"}
	}
	if err := h.db.Try(ctx); err != nil {
		return finding{"store", false, err.Error(), "nothing is released, granted or connected until it can be written; what is there can be looked at, and on a full disk revoking goes on as long as the ballast has room"}
	}
	if time.Since(failed) < troubleShown {
		return finding{"store", false, "the disk failed during a write at " + failed.UTC().Format(time.RFC3339),
			"it has taken writes since, and nothing that was confirmed is lost; look at the disk (dmesg, smartctl) and at your backups before it fails for good"}
	}
	return h.checkRoom()
}

// checkRoom is the last that is looked at in a store that works.
func (h *house) checkRoom() finding {
	says := h.settings.shownStore()
	if !strings.HasPrefix(says, "sqlite:") {
		return finding{"store", true, says, ""}
	}
	room, err := h.db.Room()
	if err != nil {
		return finding{"store", false, err.Error(), "nobody knows how much room its disk has left"}
	}
	ballast := "the ballast is not there yet: a latchpost that serves lays it"
	switch {
	case room.Ballast:
		ballast = "the ballast is there"
	case room.Short:
		ballast = "there is no ballast"
	}
	says += fmt.Sprintf("; %s free, %s", inBytes(room.Free), ballast)
	if room.Short {
		return finding{"store", false, says, "when the disk is full nothing is released, granted or connected, and without the ballast nothing can be revoked either; make room (old backups, logs), then the ballast is laid by itself"}
	}
	return finding{"store", true, says, ""}
}

// inBytes is n as people read it.
func inBytes(n int64) string {
	if n < 1<<30 {
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

func (h *house) checkAudit(ctx context.Context) finding {
	report, err := h.audit.Verify(ctx)
	if err != nil {
		return finding{"audit", false, err.Error(), "it cannot be read"}
	}
	if len(report.Faults) > 0 {
		return finding{"audit", false, fmt.Sprintf("%d places were changed", len(report.Faults)), "latchpost audit verify names them; keep a copy of the store and look into it"}
	}
	if report.Unread != nil {
		return finding{"audit", false, report.Unread.Error(), "whether events are missing at the end of the record cannot be told"}
	}
	return finding{"audit", true, fmt.Sprintf("%d events, the chain is whole", report.Events), ""}
}

// checkConnections tells of providers that do not answer. It counts, and names nobody: the report is for strangers, too.
func (h *house) checkConnections(ctx context.Context) finding {
	census, err := h.db.Census(ctx)
	if err != nil {
		return finding{"connections", false, err.Error(), "they cannot be read"}
	}
	n := census.Connections
	if down := n[auth.ProviderDown]; down > 0 {
		return finding{"connections", false, fmt.Sprintf("%d cannot be renewed, because the provider does not answer properly", down),
			"calls with them fail until it does; they are tried again by themselves, and latchpost list and /connections say which they are"}
	}
	return finding{"connections", true, fmt.Sprintf("%d work, %d wait for a new sign-in", n[auth.Active]+n[auth.Expiring], n[auth.NeedsReauth]), ""}
}

// checkPort tells a neighbour of ours from a stranger.
func (h *house) checkPort(ctx context.Context) finding {
	l, err := net.Listen("tcp", h.settings.listen)
	switch {
	case err == nil:
		_ = l.Close()
		return finding{"port", true, h.settings.listen + " is free", ""}
	case errors.Is(err, syscall.EADDRINUSE) && h.door.neighbour(ctx):
		return finding{"port", true, h.settings.listen + " is served by another process of this store", ""}
	case errors.Is(err, syscall.EADDRINUSE):
		return finding{"port", false, h.settings.listen + " belongs to another program", "providers that insist on an exact redirect URI refuse sign-ins; end that program, or choose a port with --listen"}
	}
	return finding{"port", false, err.Error(), "choose another address with --listen"}
}

// checkCertificate looks at what a serve of this store shows on the port; nothing when it serves without TLS, or none runs.
func (h *house) checkCertificate(ctx context.Context) []finding {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	ours, shown := h.door.challenge(ctx, "https")
	if !ours || shown == nil {
		return nil
	}
	if err := worry(shown, hostOf(h.settings.baseURL)); err != nil {
		return []finding{{"certificate", false, err.Error(), "agents and browsers refuse to connect; replace the files of --tls-cert and --tls-key, which are read again without a restart"}}
	}
	return []finding{{"certificate", true, "until " + shown.NotAfter.UTC().Format(time.RFC3339), ""}}
}

// checkFlags repeats what open warns of, for those who read the report alone.
func (s *settings) checkFlags() finding {
	if unsafe := s.unsafe(); len(unsafe) > 0 {
		return finding{"flags", true, "unsafe: " + strings.Join(unsafe, "; "), "turn them off for anything but trying things out"}
	}
	return finding{"flags", true, "none that is unsafe", ""}
}

// checkClock compares the clock with the store's last change: tokens are judged by it.
func (s *settings) checkClock() finding {
	now := time.Now()
	if info, err := os.Stat(s.data); err == nil && info.ModTime().After(now.Add(2*time.Minute)) {
		return finding{"clock", false, "the clock stands before the store's last change", "tokens look fresh that are not; set the clock (NTP)"}
	}
	if now.Year() < 2025 {
		return finding{"clock", false, "the clock says " + now.Format(time.DateOnly), "TLS and tokens fail; set the clock (NTP)"}
	}
	return finding{"clock", true, now.UTC().Format(time.RFC3339), ""}
}
