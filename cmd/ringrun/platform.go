package main

import (
	"bytes"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"io"
	"os"
	"slices"
	"strings"
)

// platform translates what uname says into Go's words.
func platform(uname string) string {
	system, machine, _ := strings.Cut(strings.ToLower(uname), " ")
	switch {
	case machine == "x86_64":
		machine = "amd64"
	case machine == "aarch64" || machine == "armv8l":
		machine = "arm64"
	case strings.HasPrefix(machine, "armv"):
		machine = "arm"
	case machine == "i386" || machine == "i586" || machine == "i686":
		machine = "386"
	case machine == "loongarch64":
		machine = "loong64"
	}
	return system + "/" + machine
}

var elfMachines = map[elf.Machine]string{
	elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64", elf.EM_386: "386", elf.EM_ARM: "arm",
	elf.EM_RISCV: "riscv64", elf.EM_LOONGARCH: "loong64", elf.EM_S390: "s390x", elf.EM_MIPS: "mips",
}

var elfSystems = map[elf.OSABI]string{
	elf.ELFOSABI_FREEBSD: "freebsd", elf.ELFOSABI_NETBSD: "netbsd", elf.ELFOSABI_OPENBSD: "openbsd",
}

var machoMachines = map[macho.Cpu]string{macho.CpuAmd64: "amd64", macho.CpuArm64: "arm64", macho.Cpu386: "386", macho.CpuArm: "arm"}

// platformsOf tells for which platforms an executable is, by its first bytes; none
// if they do not say: a script, for example, may run anywhere.
func platformsOf(file string) ([]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	magic := make([]byte, 4)
	if _, err := io.ReadFull(f, magic); err != nil {
		return nil, nil // shorter than any executable
	}
	switch {
	case string(magic) == elf.ELFMAG:
		return elfPlatform(f), nil
	case bytes.HasPrefix(magic, []byte("MZ")):
		return pePlatform(f), nil
	}
	return machoPlatforms(f), nil
}

func elfPlatform(f io.ReaderAt) []string {
	e, err := elf.NewFile(f)
	if err != nil {
		return nil
	}
	system, machine := "linux", elfMachines[e.Machine]
	if s, ok := elfSystems[e.OSABI]; ok {
		system = s
	}
	switch {
	case e.Machine == elf.EM_PPC64 && e.ByteOrder.String() == "LittleEndian":
		machine = "ppc64le"
	case e.Machine == elf.EM_PPC64:
		machine = "ppc64"
	case machine == "":
		machine = e.Machine.String()
	}
	return []string{system + "/" + machine}
}

func machoPlatforms(f io.ReaderAt) []string {
	var files []*macho.File
	if fat, err := macho.NewFatFile(f); err == nil {
		for _, a := range fat.Arches {
			files = append(files, a.File)
		}
	} else if one, err := macho.NewFile(f); err == nil {
		files = append(files, one)
	}
	var all []string
	for _, m := range files {
		all = append(all, "darwin/"+machoMachines[m.Cpu])
	}
	return all
}

func pePlatform(f io.ReaderAt) []string {
	p, err := pe.NewFile(f)
	switch {
	case err != nil:
		return nil
	case p.Machine == pe.IMAGE_FILE_MACHINE_ARM64:
		return []string{"windows/arm64"}
	}
	return []string{"windows/amd64"}
}

// fits reports whether an executable for some platforms runs on one. All that is
// known of a machine is its kernel, which may run 32-bit programs as well.
func fits(platforms []string, on string) bool {
	return len(platforms) == 0 || slices.Contains(platforms, on) ||
		on == "linux/amd64" && slices.Contains(platforms, "linux/386")
}
