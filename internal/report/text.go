package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// number is n with thousands separators.
func number(n int) string {
	digits := strconv.Itoa(max(n, -n))
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if n < 0 {
		return "−" + digits
	}
	return digits
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return number(n) + " " + what + "s"
}

// decimal is x with as many digits as matter.
func decimal(x float64) string {
	switch a := math.Abs(x); {
	case a >= 99.5 || a == math.Trunc(a):
		return number(int(math.Round(x)))
	case a >= 9.95:
		return trimZeros(strconv.FormatFloat(x, 'f', 1, 64))
	case a >= 0.995:
		return trimZeros(strconv.FormatFloat(x, 'f', 2, 64))
	}
	return strconv.FormatFloat(x, 'g', 2, 64)
}

func trimZeros(s string) string {
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// span is seconds as people read a duration.
func span(s float64) string {
	switch {
	case s <= 0:
		return "0 s"
	case s < 0.9995:
		return decimal(math.Round(s*1e4)/10) + " ms"
	case s < 120:
		return decimal(math.Round(s*10)/10) + " s"
	case s < 3600:
		return two(s, 60, "min", "s")
	case s < 48*3600:
		return two(s/60, 60, "h", "min")
	}
	return two(s/3600, 24, "days", "h")
}

func two(n, of float64, large, small string) string {
	whole := int(math.Round(n))
	if rest := whole % int(of); rest > 0 {
		return fmt.Sprintf("%d %s %d %s", whole/int(of), large, rest, small)
	}
	return fmt.Sprintf("%d %s", whole/int(of), large)
}

func instant(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func percent(x float64) string {
	switch {
	case x == 0:
		return "0 %"
	case x > 0 && x < 0.001:
		return "under 0.1 %"
	case x < 0.0995:
		return fmt.Sprintf("%.1f %%", 100*x)
	}
	return fmt.Sprintf("%.0f %%", 100*x)
}

func dollars(usd float64) string {
	if usd > 0 && usd < 0.0001 {
		return "under $0.0001"
	}
	if usd >= 1 {
		return fmt.Sprintf("$%.2f", usd)
	}
	return fmt.Sprintf("$%.4f", usd)
}

// bound is what bound the work, in words.
func bound(what string) string {
	switch what {
	case "vendor":
		return "the vendor's answers"
	case "us":
		return "our own batches and stores"
	case "store":
		return "the governor's store"
	case "pause":
		return "an operator's pause"
	case "in flight":
		return "calls in flight of one process"
	}
	if name, ok := strings.CutPrefix(what, "in flight "); ok {
		return "calls in flight, " + name
	}
	if name, ok := strings.CutPrefix(what, "limit "); ok {
		return "the limit, " + name
	}
	return what
}
