package plugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/credentials"
)

// Peer returns who is at the other end of a unix socket, as the kernel recorded it at connect time
// (SO_PEERCRED, unix(7)).
func Peer(conn net.Conn) (*unix.Ucred, error) {
	uc, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("read peer credentials: %T is no unix socket: %w", conn, ErrInvalid)
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("read peer credentials: %w", err)
	}
	var cred *unix.Ucred
	var sockErr error
	if err := raw.Control(func(fd uintptr) {
		cred, sockErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return nil, fmt.Errorf("read peer credentials: %w", err)
	}
	if sockErr != nil {
		return nil, fmt.Errorf("read peer credentials: %w", sockErr)
	}
	return cred, nil
}

// sameUser lets only processes of the plugin's own user, or root, talk to the plugin.
type sameUser struct{}

var _ credentials.TransportCredentials = sameUser{}

type peerInfo struct{ credentials.CommonAuthInfo }

func (peerInfo) AuthType() string { return "peercred" }

func (sameUser) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	cred, err := Peer(conn)
	if err != nil {
		return nil, nil, err
	}
	if cred.Uid != 0 && int(cred.Uid) != os.Getuid() {
		return nil, nil, fmt.Errorf("accept process %d: user %d is not %d", cred.Pid, cred.Uid, os.Getuid())
	}
	return conn, peerInfo{credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}}, nil
}

func (sameUser) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("dial as server")
}

func (sameUser) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "peercred"}
}
func (s sameUser) Clone() credentials.TransportCredentials { return s }
func (sameUser) OverrideServerName(string) error           { return nil }
