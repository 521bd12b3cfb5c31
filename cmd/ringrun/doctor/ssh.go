package doctor

import (
	"strings"
)

// An explanation is for what another program says.
type explanation struct {
	words         string // some of them
	cause, remedy string // HOST stands for the name of the host
}

// sshWords are searched in this order in all that ssh, its helpers and the shell
// on the host have said. The last line of it is what the user sees.
var sshWords = []explanation{
	{"IDENTIFICATION HAS CHANGED", "the host has another key than when it was last seen: it was installed anew, or another machine answers in its place",
		"if that is expected: ssh-keygen -R HOST; ssh HOST"},
	{"Host key verification failed", "this user has never said that the host's key is the right one, and ringrun does not ask",
		"ssh HOST once by hand, or ssh-keyscan HOST >>~/.ssh/known_hosts"},
	{"host key is known for", "this user has never said that the host's key is the right one, and ringrun does not ask",
		"ssh HOST once by hand, or ssh-keyscan HOST >>~/.ssh/known_hosts"},
	{"Too many authentication failures", "the agent offers too many keys before the right one",
		"in ~/.ssh/config: Host HOST, IdentitiesOnly yes, IdentityFile KEY"},
	{"UNPROTECTED PRIVATE KEY", "others may read the private key, so ssh does not use it", "chmod 600 KEY"},
	{"invalid format", "the private key is no key, or damaged", "ssh-keygen -y -f KEY tells; name another IdentityFile"},
	{"Permission denied (", "the host accepts none of the keys that ssh offers without a password",
		"ssh-copy-id HOST; ssh-add, if the key has a passphrase; or name another user or key in ~/.ssh/config"},
	{"Could not resolve hostname", "neither /etc/hosts nor DNS nor ~/.ssh/config knows that name",
		"check the spelling; add it to /etc/hosts, or HostName to ~/.ssh/config; or write its address in -H"},
	{"Connection refused", "the host is up and no sshd listens at that port, or a firewall rejects it",
		"start sshd there (systemctl start sshd), or name its Port in ~/.ssh/config"},
	{"No route to host", "the host does not answer on its network, or a firewall says that it may not be reached",
		"is it up, and the address right? ip route get HOST; ping HOST"},
	{"Network is unreachable", "this machine has no route to that network", "ip route; bring up the interface, VPN or default route to it"},
	{"Operation timed out", "a firewall drops the packets, or the host is down", "is it up? let TCP port 22 pass, or name a ProxyJump in ~/.ssh/config"},
	{"Connection timed out", "a firewall drops the packets, or the host is down", "is it up? let TCP port 22 pass, or name a ProxyJump in ~/.ssh/config"},
	{"banner exchange", "something else than sshd listens there, or sshd is overloaded", "name its Port in ~/.ssh/config; see MaxStartups in sshd_config"},
	{"kex_exchange_identification", "sshd hung up at once: too many connections, or it refuses this address", "see MaxStartups in sshd_config, /etc/hosts.deny and fail2ban there"},
	{"Bad configuration option", "ssh does not understand its own configuration", "correct the line it names"},
	{"account is currently not available", "that user may not run programs there", "name another user: user@HOST"},
	{"No space left on device", "the disk of its cache folder is full, or has no inode free", "free some; or name a folder on a larger disk: -cache DIR"},
	{"Disk quota exceeded", "this user's quota on the disk of its cache folder is used up", "free some; or name another folder: -cache DIR"},
	{"Read-only file system", "the file system of its cache folder cannot be written", "mount -o remount,rw there; or name another folder: -cache DIR"},
	{"HOME is not set", "that user has no home folder there, and ringrun no place to copy to", "give it one (usermod -d), or name a folder: -cache DIR"},
	{"mkdir: ", "its cache folder cannot be made", "let that user write there; or name another folder: -cache DIR"},
	{"Exec format error", "the program is for another processor or system", "build it for that host: GOOS=… GOARCH=… go build"},
	{"cannot execute binary file", "the program is for another processor or system", "build it for that host: GOOS=… GOARCH=… go build"},
	{"annot execute", "its cache folder is mounted noexec, or the file there is damaged", "mount -o remount,exec there; or name another folder: -cache DIR"},
	{"Permission denied", "its cache folder is not this user's, or is mounted noexec", "chown or mount -o remount,exec there; or name another folder: -cache DIR"},
	{"executable file not found", "there is no ssh client on this machine", "install it: openssh-client"},
	{"srun: ", "Slurm does not start a step on that node", "sinfo -n HOST; the allocation must still stand: squeue"},
}

// Explain tells why a host cannot be used, from what ssh or a shell there said.
// What it does not know it leaves as it is, and returns nil.
func Explain(host, said string) *Trouble {
	for _, e := range sshWords {
		if strings.Contains(said, e.words) {
			named := strings.NewReplacer("HOST", host)
			return &Trouble{Said: tell(said, e.words), Cause: e.cause, Remedy: named.Replace(e.remedy)}
		}
	}
	return nil
}

// tell returns the last line of ssh's with these words, or the last of all.
func tell(said, words string) string {
	last, with := "", ""
	for line := range strings.Lines(said) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if last = line; strings.Contains(line, words) {
			with = strings.Trim(line, "@ ")
		}
	}
	if with != "" {
		return with
	}
	return last
}
