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
	on       = flag.String("on", "", "only the workers with one of these `ID` prefixes do what follows")
	stay     = flag.String("stay", "", "those with one of these `ID` prefixes wait for a signal, and end well")
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
	missed   = flag.Bool("missed", false, "report that the run has ended without it, and exit with 0")
)

var (
	self   = os.Getenv("RINGRUN_ID")
	report = json.NewEncoder(os.NewFile(3, "report"))
)

func main() {
	flag.Parse()
	me := named(*on)
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
	if *stay != "" && named(*stay) {
		*polite = true
		await()
	}
	if me {
		act()
	}
	tell(map[string]any{"event": "done", "steps": 1})
}

// named reports whether this worker's ID begins with one in the list.
func named(list string) bool {
	return slices.ContainsFunc(strings.Split(list, ","), func(p string) bool {
		return p == "" || self == p || strings.HasPrefix(self, p+"-")
	})
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
	if *missed {
		tell(map[string]any{"event": "over", "id": self, "steps": 3, "error": "the run has ended"})
		os.Exit(0)
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
	signal.Notify(signals, syscall.SIGUSR2) // which nobody sends: or Go takes this for a deadlock
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
		first, _, _ := strings.Cut(os.Getenv("RINGRUN_JOIN"), ",")
		c, err := net.Dial("tcp", first)
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
	changes := make(chan change, 100)
	for id, c := range conns {
		fmt.Fprintln(c, strings.Join(peers, " "))
		go awaitEnd(id, c, changes)
	}
	go watch(peers, changes)
	go func() {
		for { // newcomers
			id, c := accept(l)
			changes <- change{id: id, came: true}
			fmt.Fprintln(c, "late")
			go awaitEnd(id, c, changes)
		}
	}()
}

type change struct {
	id   string
	came bool // else it is gone
}

func awaitEnd(id string, c net.Conn, changes chan<- change) {
	c.Read(make([]byte, 1)) // until it is gone
	changes <- change{id: id}
}

func watch(peers []string, changes <-chan change) {
	epoch := 2
	for c := range changes {
		peers = slices.DeleteFunc(peers, func(p string) bool { return p == c.id })
		if c.came {
			peers = append(peers, c.id)
		}
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
