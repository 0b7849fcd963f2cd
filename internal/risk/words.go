package risk

import (
	"fmt"
	"math"
	"strconv"
)

// Language is that of a report for people.
type Language string

// The languages.
const (
	English Language = "en"
	Chinese Language = "zh"
)

// roleWords are the roles in words.
var roleWords = map[Language]map[Role]string{
	English: {
		Quasi: "quasi-identifier", Sensitive: "sensitive", Direct: "direct identifier", Pseudonym: "pseudonym",
		RecordID: "record id", Other: "not personal", Ignored: "ignored",
	},
	Chinese: {
		Quasi: "准标识符", Sensitive: "敏感属性", Direct: "直接标识符", Pseudonym: "假名",
		RecordID: "记录编号", Other: "非个人信息", Ignored: "不计入",
	},
}

// inWords says what a field is and why.
func (f Field) inWords(lang Language) string {
	zh := lang == Chinese
	say := func(en, cn string) string {
		if zh {
			return cn
		}
		return en
	}
	what := roleWords[lang][f.Role]
	if f.Sensitive && f.Role != Sensitive {
		what += say(", sensitive", "，敏感")
	}
	if f.Subject {
		what += say(", tells the subject", "，指明主体")
	}
	var why string
	switch f.Because {
	case ByFlag:
		why = say("as asked for", "按参数指定")
	case ByCategory:
		why = fmt.Sprintf(say("%s: %s", "%s：%s"), f.Category, f.Action)
	case ByKeep:
		why = say("the recipient's keep list", "接收方的 keep 列表")
	case ByLooks:
		why = say("nearly all values differ and look like ids", "值几乎各不相同且形似标识")
		if f.Category != "" {
			why = f.Category + say(": ", "：") + why
		}
	case ByDefault:
		why = say("nothing is known of it", "性质不明")
	case NotAllowed:
		why = say("not declared for this recipient", "未声明提供给该接收方")
		if f.Category != "" {
			why = f.Category + say(": ", "：") + f.Action + say(", ", "，") + why
		}
	case TooMany:
		why = say("all fields beyond the first 128", "前 128 个之外的全部字段")
	}
	return what + say(" (", "（") + why + say(")", "）")
}

// inWords says what a check is about.
func (c Check) inWords(lang Language) string {
	zh := lang == Chinese
	switch c.Name {
	case CheckK:
		if zh {
			return fmt.Sprintf("所在等价类不足 %d 人的记录占比", c.Wanted)
		}
		return fmt.Sprintf("records in classes below k = %d", c.Wanted)
	case CheckUnique:
		if zh {
			return "独自成类的记录或主体占比（取较大者）"
		}
		return "records, or subjects, alone in their class"
	case CheckL:
		if zh {
			return fmt.Sprintf("%s：所在等价类取值不足 l = %d 种的记录占比", c.About, c.Wanted)
		}
		return fmt.Sprintf("%s: records in classes below l = %d", c.About, c.Wanted)
	case CheckT:
		if zh {
			return c.About + "：t 接近度的最大距离"
		}
		return c.About + ": t, the greatest distance"
	case CheckLinked:
		if zh {
			return "恰好匹配另一方一人的记录占比"
		}
		return "records that match exactly one of the other's"
	case CheckShared:
		if zh {
			return "双方取值相同的标识字段对数"
		}
		return "pairs of identifiers with values in common"
	case CheckDirect:
		if zh {
			return "直接标识符字段数"
		}
		return "fields that are direct identifiers"
	case CheckUndeclared:
		if zh {
			return "政策未声明提供给该接收方的字段数"
		}
		return "fields that the policy does not let go"
	case CheckLooks:
		if zh {
			return "取值中发现的不得提供的信息类型数"
		}
		return "categories found in values that may not go"
	}
	return string(c.Name)
}

// counts reports whether the check counts things rather than a share.
func (c Check) counts() bool {
	return c.Name == CheckShared || c.Name == CheckDirect || c.Name == CheckUndeclared || c.Name == CheckLooks
}

// number writes a limit or figure of the check.
func (c Check) number(x float64) string {
	switch {
	case c.counts():
		return strconv.Itoa(int(x))
	case c.Name == CheckT:
		return fmt.Sprintf("%.3f", x)
	}
	return percent(x)
}

// percent writes a share. What is little is not nothing, and what is nearly all
// is not all.
func percent(x float64) string {
	switch {
	case x > 0 && x < 0.0001:
		return "<0.01%"
	case x < 1 && x > 0.9999:
		return ">99.99%"
	}
	return fmt.Sprintf("%.2f%%", 100*x)
}

// grouped writes a count with its thousands apart.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// inWords writes a bin as "4-7".
func (b Bin) inWords() string {
	if b.From == b.To {
		return strconv.Itoa(b.From)
	}
	return fmt.Sprintf("%d–%d", b.From, b.To)
}

// decimals writes a figure of l, t or entropy.
func decimals(x float64) string {
	if math.Abs(x) < 0.005 {
		return "0.00"
	}
	return fmt.Sprintf("%.2f", x)
}
