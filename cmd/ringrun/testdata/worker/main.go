// Worker is a program for ringrun's tests. It founds or joins a group, as far as
// a launcher can see that, and then does what its flags say.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

var (
	on       = flag.String("on", "", "only the worker with this `ID` prefix does what follows")
	early    = flag.Int("early", -1, "exit with this status before there is a group")
	mute     = flag.Bool("mute", false, "never listen, wait for a signal")
	status   = flag.Int("exit", 0, "exit with this status")
	suicide  = flag.Bool("suicide", false, "die by SIGKILL")
	hang     = flag.Bool("hang", false, "wait for a signal")
	polite   = flag.Bool("polite", false, "wait for a signal, name it and exit with 0")
	stubborn = flag.Bool("stubborn", false, "wait, whatever the signal")
	child    = flag.Bool("child", false, "start a child that is stubborn")
	env      = flag.Bool("env", false, "print the environment")
	long     = flag.Int("long", 0, "print a line of this length, and one without end")
	failWhy  = flag.String("why", "", "report this failure")
)

var (
	self   = os.Getenv("RINGRUN_ID")
	report = json.NewEncoder(os.NewFile(3, "report"))
)

func main() {
	flag.Parse()
	me := strings.HasPrefix(self, *on)
	if me && *early >= 0 {
		fmt.Fprintln(os.Stderr, "first complaint")
		fmt.Fprint(os.Stderr, "last complaint")
		os.Exit(*early)
	}
	if me && *mute {
		fmt.Println("mute")
		await()
	}
	if self != "" {
		join()
	}
	fmt.Println("together", self, flag.Args())
	if me {
		act()
	}
	tell(map[string]any{"event": "done", "steps": 1})
}

func act() {
	if *child {
		c := exec.Command(os.Args[0], "-stubborn")
		c.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "RINGRUN_") })
		c.Stdout = os.Stdout
		check(c.Start())
	}
	if *env {
		wd, err := os.Getwd()
		check(err)
		fmt.Println("DIR=" + wd)
		fmt.Println(strings.Join(os.Environ(), "\n"))
	}
	if *long > 0 {
		fmt.Println(strings.Repeat("x", *long) + ".")
		fmt.Print("no end")
	}
	if *suicide {
		check(syscall.Kill(os.Getpid(), syscall.SIGKILL))
	}
	if *hang || *polite || *stubborn {
		await()
	}
	if *failWhy != "" {
		tell(map[string]any{"event": "failed", "error": *failWhy})
	}
	if *status != 0 {
		os.Exit(*status)
	}
}

// await waits for a signal.
func await() {
	signals := make(chan os.Signal, 1)
	if *stubborn || *polite {
		signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	}
	fmt.Println("waiting", os.Getpid(), os.Getppid())
	for s := range signals {
		fmt.Println("got", s)
		if *polite {
			os.Exit(0)
		}
	}
}

// join makes the smallest group there can be: the founder counts, and tells all
// when nobody is missing, or has gone.
func join() {
	l, err := net.Listen("tcp", os.Getenv("RINGRUN_BIND"))
	check(err)
	tell(map[string]any{"event": "listening", "addr": l.Addr().String()})
	if os.Getenv("RINGRUN_FOUND") == "" {
		c, err := net.Dial("tcp", os.Getenv("RINGRUN_JOIN"))
		check(err)
		_, err = fmt.Fprintln(c, self)
		check(err)
		line, err := bufio.NewReader(c).ReadString('\n')
		check(err)
		view(2, strings.Fields(line))
		return
	}
	expect, err := strconv.Atoi(os.Getenv("RINGRUN_EXPECT"))
	check(err)
	peers := []string{self}
	conns := map[string]net.Conn{}
	for len(peers) < expect {
		id, c := accept(l)
		peers, conns[id] = append(peers, id), c
	}
	view(2, peers)
	changes := make(chan string, 100)
	for id, c := range conns {
		fmt.Fprintln(c, strings.Join(peers, " "))
		go func() {
			c.Read(make([]byte, 1)) // until it is gone
			changes <- id
		}()
	}
	go watch(peers, changes)
	go func() {
		for { // newcomers
			_, c := accept(l)
			fmt.Fprintln(c, "late")
		}
	}()
}

func watch(peers []string, gone <-chan string) {
	epoch := 2
	for id := range gone {
		peers = slices.DeleteFunc(peers, func(p string) bool { return p == id })
		epoch++
		view(epoch, peers)
	}
}

func accept(l net.Listener) (string, net.Conn) {
	for {
		c, err := l.Accept()
		check(err)
		id, err := bufio.NewReader(c).ReadString('\n')
		if err == nil {
			return strings.TrimSpace(id), c
		}
		c.Close() // a stranger
	}
}

func view(epoch int, peers []string) {
	tell(map[string]any{"event": "view", "epoch": epoch, "peers": peers})
}

func tell(e map[string]any) {
	e["id"] = self
	_ = report.Encode(e)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
}
