package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// kind parses one setting and says in words what is allowed. set must leave
// the Config alone when it returns an error.
type kind struct {
	allowed string
	set     func(*Config, string) error
	get     func(*Config) string // the value as one would write it
	isBool  bool                 // the flag needs no value
	isList  bool                 // a list is allowed in the file
}

// errNotAllowed is the fault of a value that its kind does not accept; what is
// allowed is said by the kind.
var errNotAllowed = errors.New("not allowed")

func textKind(required bool, at func(*Config) *string) kind {
	allowed := "any text"
	if required {
		allowed = "any text that is not empty"
	}
	return kind{allowed: allowed, get: func(c *Config) string { return *at(c) }, set: func(c *Config, s string) error {
		if required && strings.TrimSpace(s) == "" {
			return errNotAllowed
		}
		*at(c) = s
		return nil
	}}
}

func choiceKind(at func(*Config) *string, choices ...string) kind {
	last := len(choices) - 1
	allowed := strings.Join(choices[:last], ", ") + " or " + choices[last]
	return kind{allowed: allowed, get: func(c *Config) string { return *at(c) }, set: func(c *Config, s string) error {
		s = strings.ToLower(s)
		if !slices.Contains(choices, s) {
			return errNotAllowed
		}
		*at(c) = s
		return nil
	}}
}

func boolKind(at func(*Config) *bool) kind {
	return kind{allowed: "true or false", isBool: true, get: func(c *Config) string { return strconv.FormatBool(*at(c)) }, set: func(c *Config, s string) error {
		switch strings.ToLower(s) {
		case "true":
			*at(c) = true
		case "false":
			*at(c) = false
		default:
			return errNotAllowed
		}
		return nil
	}}
}

func uintKind(least, most uint64, at func(*Config) *uint64) kind {
	return kind{allowed: fmt.Sprintf("an integer from %d to %d", least, most), get: func(c *Config) string { return strconv.FormatUint(*at(c), 10) }, set: func(c *Config, s string) error {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil || n < least || n > most {
			return errNotAllowed
		}
		*at(c) = n
		return nil
	}}
}

func intKind(least, most int, at func(*Config) *int) kind {
	return kind{allowed: fmt.Sprintf("an integer from %d to %d", least, most), get: func(c *Config) string { return strconv.Itoa(*at(c)) }, set: func(c *Config, s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < least || n > most {
			return errNotAllowed
		}
		*at(c) = n
		return nil
	}}
}

// maxDuration keeps now minus a duration inside what time can express.
const maxDuration = 290 * 365 * 24 * time.Hour

func durationKind(least time.Duration, at func(*Config) *time.Duration) kind {
	allowed := "a duration such as 15d, 1h30m or 500ms, or a whole number of seconds"
	if least > 0 {
		allowed += fmt.Sprintf(", at least %s", model.Duration(least))
	}
	return kind{allowed: allowed, get: func(c *Config) string { return model.Duration(*at(c)).String() }, set: func(c *Config, s string) error {
		d, err := ParseDuration(s)
		if err != nil || d < least || d > maxDuration {
			return errNotAllowed
		}
		*at(c) = d
		return nil
	}}
}

// ParseDuration parses a duration as Prometheus writes them (15d, 1h30m,
// 500ms); a plain integer is seconds.
func ParseDuration(s string) (time.Duration, error) {
	if n, err := strconv.ParseUint(s, 10, 63); err == nil {
		if n > uint64(math.MaxInt64/time.Second) {
			return 0, fmt.Errorf("duration %q is out of range", s)
		}
		return time.Duration(n) * time.Second, nil
	}
	d, err := model.ParseDuration(s)
	return time.Duration(d), err
}

func sizeKind(least int64, at func(*Config) *int64) kind {
	allowed := "a size in bytes, or with a unit in powers of 1024, such as 512KiB, 256MiB or 1.5GiB"
	if least > 0 {
		allowed += fmt.Sprintf(", at least %s", FormatSize(least))
	}
	return kind{allowed: allowed, get: func(c *Config) string { return FormatSize(*at(c)) }, set: func(c *Config, s string) error {
		n, err := ParseSize(s)
		if err != nil || n < least {
			return errNotAllowed
		}
		*at(c) = n
		return nil
	}}
}

// ParseSize parses a number of bytes; units are powers of 1024 and may be
// written as K, KB or KiB.
func ParseSize(s string) (int64, error) {
	digits := strings.TrimRightFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	unit := strings.ToUpper(strings.TrimSpace(s[len(digits):]))
	shift := 0
	if unit != "" && unit != "B" {
		shift = 10 * (1 + strings.IndexByte("KMGTPE", unit[0]))
		if rest := unit[1:]; shift == 0 || (rest != "" && rest != "B" && rest != "IB") {
			return 0, fmt.Errorf("size %q has an unknown unit", s)
		}
	}
	if n, err := strconv.ParseUint(digits, 10, 63); err == nil {
		if n > uint64(math.MaxInt64)>>shift {
			return 0, fmt.Errorf("size %q is out of range", s)
		}
		return int64(n << shift), nil
	}
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil || shift == 0 || strings.ContainsAny(digits, "eExX_") {
		return 0, fmt.Errorf("size %q is not a number with a unit", s)
	}
	if f = math.Ldexp(f, shift); !(f >= 0 && f < math.MaxInt64) {
		return 0, fmt.Errorf("size %q is out of range", s)
	}
	return int64(f), nil
}

// FormatSize writes a number of bytes in the largest unit that divides it.
func FormatSize(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	i := 0
	for n != 0 && n%1024 == 0 && i < len(units)-1 {
		n /= 1024
		i++
	}
	if i == 0 {
		return strconv.FormatInt(n, 10)
	}
	return strconv.FormatInt(n, 10) + units[i]
}

// autoKind lets a setting be "auto", which stores its zero.
func autoKind(k kind) kind {
	inner, show := k.set, k.get
	k.allowed = "auto, or " + k.allowed
	k.get = func(c *Config) string {
		if s := show(c); s != "0" {
			return s
		}
		return "auto"
	}
	k.set = func(c *Config, s string) error {
		if strings.EqualFold(s, "auto") {
			return nil
		}
		return inner(c, s)
	}
	return k
}

func bufferKind(at func(*Config) *BufferSize) kind {
	return kind{
		allowed: "auto, a number of samples from 1 upwards, or a size with a unit such as 256MiB, at least 16KiB",
		get: func(c *Config) string {
			switch b := at(c); {
			case b.Samples > 0:
				return strconv.FormatInt(b.Samples, 10)
			case b.Bytes > 0:
				return FormatSize(b.Bytes)
			}
			return "auto"
		},
		set: func(c *Config, s string) error {
			if strings.EqualFold(s, "auto") {
				*at(c) = BufferSize{}
				return nil
			}
			if n, err := strconv.ParseInt(s, 10, 64); err == nil {
				if n < 1 {
					return errNotAllowed
				}
				*at(c) = BufferSize{Samples: n}
				return nil
			}
			n, err := ParseSize(s)
			if err != nil || n < 16<<10 {
				return errNotAllowed
			}
			*at(c) = BufferSize{Bytes: n}
			return nil
		},
	}
}

func addressKind(anyPort bool, at func(*Config) *string) kind {
	allowed := "host:port with a port from 1 to 65535"
	if anyPort {
		allowed = "host:port with a port from 0 to 65535"
	}
	return kind{allowed: allowed, get: func(c *Config) string { return *at(c) }, set: func(c *Config, s string) error {
		if err := checkAddress(s, anyPort); err != nil {
			return err
		}
		*at(c) = s
		return nil
	}}
}

func checkAddress(s string, anyPort bool) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil || strings.ContainsAny(host, " /@") || (host == "" && !anyPort) {
		return errNotAllowed
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || (n == 0 && !anyPort) {
		return errNotAllowed
	}
	return nil
}

func addressesKind(at func(*Config) *[]string) kind {
	return kind{allowed: "host:port, several separated by commas", isList: true, get: func(c *Config) string { return strings.Join(*at(c), ",") }, set: func(c *Config, s string) error {
		var all []string
		for one := range strings.SplitSeq(s, ",") {
			if one = strings.TrimSpace(one); one == "" || slices.Contains(all, one) {
				continue
			}
			if err := checkAddress(one, false); err != nil {
				return err
			}
			all = append(all, one)
		}
		*at(c) = all
		return nil
	}}
}

func urlKind(at func(*Config) *string) kind {
	return kind{allowed: "a URL that begins with http:// or https://", get: func(c *Config) string { return *at(c) }, set: func(c *Config, s string) error {
		u, err := url.Parse(s)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return errNotAllowed
		}
		*at(c) = strings.TrimRight(s, "/")
		return nil
	}}
}

func prefixKind(at func(*Config) *string) kind {
	return kind{allowed: "a path such as /count", get: func(c *Config) string { return *at(c) }, set: func(c *Config, s string) error {
		if strings.ContainsAny(s, "?#{} %") {
			return errNotAllowed
		}
		if s = strings.Trim(s, "/"); s != "" {
			s = "/" + s
		}
		*at(c) = s
		return nil
	}}
}

func regexpKind(at func(*Config) *string) kind {
	return kind{allowed: "a regular expression", get: func(c *Config) string { return *at(c) }, set: func(c *Config, s string) error {
		if _, err := regexp.Compile("^(?:" + s + ")$"); err != nil {
			return errNotAllowed
		}
		*at(c) = s
		return nil
	}}
}

// autoSizeKind is a size that may be "auto", stored as -1, because 0 means none.
func autoSizeKind(at func(*Config) *int64) kind {
	k := sizeKind(0, at)
	inner, show := k.set, k.get
	k.allowed = "auto, or " + k.allowed
	k.get = func(c *Config) string {
		if *at(c) < 0 {
			return "auto"
		}
		return show(c)
	}
	k.set = func(c *Config, s string) error {
		if strings.EqualFold(s, "auto") {
			*at(c) = -1
			return nil
		}
		return inner(c, s)
	}
	return k
}
