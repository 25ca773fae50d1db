package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// SH-014: the whole product is used in a network of its own, in which every packet to anybody is seen: sign-ins, calls,
// renewals, failures, revocation, the demo, the doctor. Nobody but the practice servers of the test is looked up or connected to.
// What a page loads is the matter of its content policy (HL-009); what the browser for sign-ins calls, that of package browserlogin.
func TestNobodyElseIsCalled(t *testing.T) {
	alone := func(name string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "latchpost-alone", append([]string{name}, args...)...)
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "TMPDIR="+t.TempDir()) // which the sweeps look through
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		if os.Getuid() != 0 {
			cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	// A stranger that is called is seen, by name and by address.
	out, err := alone("latchpost-calls", "198.51.100.7:443", "[2001:db8::7]:443", "telemetry.example:443")
	if errors.Is(err, syscall.EPERM) && os.Getenv("CI") == "" {
		t.Skip("this machine lets nobody have a network of their own")
	}
	for _, want := range []string{"198.51.100.7:443", "[2001:db8::7]:443", ":53"} {
		if err == nil || !strings.Contains(out, "stranger: ") || !strings.Contains(out, want) {
			t.Fatalf("calls to strangers are not seen (%s): %v %s", want, err, out)
		}
	}
	for _, use := range [][]string{
		{os.Args[0], "-test.run=^(TestCanarySweep|TestStdioPrintsOnlyJSONRPC)$", "-test.count=1"},
		{"latchpost", "demo", "--auto"},
		{"latchpost", "list"}, {"latchpost", "doctor", "--support", "--listen", "127.0.0.1:0"}, {"latchpost", "providers"}, {"latchpost", "version"},
	} {
		if out, err := alone(use[0], use[1:]...); err != nil {
			t.Errorf("%v: %v\n%s", use, err, out)
		}
	}
}

// alone runs a command in the network namespace that it was started in, where every address is this machine, and fails when a
// packet goes to anybody but 127.0.0.1 and ::1, or to a name server.
func alone() {
	strangers, err := watchNetwork()
	if err != nil {
		fmt.Fprintln(os.Stderr, "alone:", err)
		os.Exit(2)
	}
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	failed := cmd.Run()
	if failed != nil {
		fmt.Fprintln(os.Stderr, "alone:", failed)
	}
	found := strangers()
	for _, to := range found {
		fmt.Fprintln(os.Stderr, "stranger:", to)
	}
	if failed != nil || len(found) > 0 {
		os.Exit(1)
	}
}

// watchNetwork routes all addresses to the loopback interface and listens there.
func watchNetwork() (strangers func() []string, err error) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return nil, err
	}
	if err := bringUp("lo"); err != nil {
		return nil, err
	}
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		if err := routeLocally(family, lo.Index); err != nil {
			return nil, err
		}
	}
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, all)
	if err != nil {
		return nil, err
	}
	return func() (found []string) {
		defer unix.Close(fd)
		seen := map[string]bool{}
		packet := make([]byte, 1<<16)
		for {
			n, _, err := unix.Recvfrom(fd, packet, unix.MSG_DONTWAIT)
			if err != nil {
				return found
			}
			to := destination(packet[:n])
			if to.IsValid() && (!to.Addr().IsLoopback() || to.Port() == 53) && !seen[to.String()] {
				seen[to.String()] = true
				found = append(found, to.String())
			}
		}
	}, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 256<<20)
}

// destination of a TCP or UDP packet; what opens no connection and asks nothing has none.
func destination(p []byte) (to netip.AddrPort) {
	switch {
	case len(p) >= 24 && p[0]>>4 == 4:
		addr, _ := netip.AddrFromSlice(p[16:20])
		head := int(p[0]&15) * 4
		if (p[9] == unix.IPPROTO_TCP || p[9] == unix.IPPROTO_UDP) && len(p) >= head+4 {
			return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(p[head+2:]))
		}
	case len(p) >= 44 && p[0]>>4 == 6 && (p[6] == unix.IPPROTO_TCP || p[6] == unix.IPPROTO_UDP):
		addr, _ := netip.AddrFromSlice(p[24:40])
		return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(p[42:]))
	}
	return to
}

func bringUp(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}

// routeLocally is `ip route add local default dev lo`, said over netlink(7).
func routeLocally(family byte, index int) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	const size = unix.SizeofNlMsghdr + unix.SizeofRtMsg + 8
	m := make([]byte, 0, size)
	m = binary.NativeEndian.AppendUint32(m, size)
	m = binary.NativeEndian.AppendUint16(m, unix.RTM_NEWROUTE)
	m = binary.NativeEndian.AppendUint16(m, unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_ACK)
	m = append(m, 0, 0, 0, 1, 0, 0, 0, 0) // sequence, port
	m = append(m, family, 0, 0, 0, unix.RT_TABLE_LOCAL, unix.RTPROT_BOOT, unix.RT_SCOPE_HOST, unix.RTN_LOCAL, 0, 0, 0, 0)
	m = binary.NativeEndian.AppendUint16(m, 8)
	m = binary.NativeEndian.AppendUint16(m, unix.RTA_OIF)
	m = binary.NativeEndian.AppendUint32(m, uint32(index))
	if err := unix.Sendto(fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 1024)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return err
	}
	if n < 20 {
		return errors.New("netlink: no answer")
	}
	if code := int32(binary.NativeEndian.Uint32(answer[16:])); code != 0 {
		return fmt.Errorf("netlink: %w", syscall.Errno(-code))
	}
	return nil
}
