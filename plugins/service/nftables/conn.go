package nftables

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
)

const (
	// room is what a socket may hold: a transaction, which is one message to the kernel (EMSGSIZE), and the answers to it, one for
	// each of its parts. Where these do not fit, the transaction is done and fails for its sender alone (ENOBUFS, netlink(7)).
	// It is taken only as far as it is used.
	room = 256 << 20
	// connTime bounds how long a connection is used, so that an answer that never comes holds nothing up.
	connTime = time.Minute
)

// dial returns a connection to the kernel for one task. One on which something has failed may still have answers to come, and is
// not to be used for another.
func dial() (*nftables.Conn, error) {
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(
		func(c *netlink.Conn) error { return errors.Join(c.SetReadBuffer(room), c.SetWriteBuffer(room)) },
		func(c *netlink.Conn) error { return c.SetDeadline(time.Now().Add(connTime)) },
	))
	if err != nil {
		return nil, fmt.Errorf("connect to nf_tables: %w", err)
	}
	return conn, nil
}

// with does a task on a connection of its own.
func with(task func(*nftables.Conn) error) error {
	conn, err := dial()
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseLasting() }()
	return task(conn)
}
