// Command echo answers each UDP packet on port 5353 with its host name and the packet.
package main

import (
	"log"
	"net"
	"os"
)

func main() {
	conn, err := net.ListenPacket("udp", ":5353")
	if err != nil {
		log.Fatal(err)
	}
	name, err := os.Hostname()
	if err != nil {
		log.Fatal(err)
	}
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			log.Fatal(err)
		}
		if _, err := conn.WriteTo(append([]byte(name+" "), buf[:n]...), from); err != nil {
			log.Print(err)
		}
	}
}
