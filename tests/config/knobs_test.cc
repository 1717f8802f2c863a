// Every knob of every product, by a visitor that makes up values for it: one that is fine, some of
// the wrong type, some out of range, and a name that is a letter off.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "tests/config/fill.h"

namespace config {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

struct Case {
  std::string section;               // "server", "cache[]"
  std::string name;                  // "workers"
  std::string good;                  // A TOML value that is not the default.
  std::string printed;               // How it is printed.
  std::vector<std::string> wrong;    // TOML values of another type or not understood.
  std::vector<std::string> outside;  // Out of range.
};

class CaseMaker {
 public:
  template <class Product>
  static std::vector<Case> Of() {
    CaseMaker maker;
    Product product;
    product.Visit(maker);
    return maker.cases_;
  }

  void Text(absl::string_view name, std::string*, absl::string_view) {
    // One text has words to choose from; any other takes anything.
    const std::string good = name == "fault_error" ? "\"internal\"" : "\"a \\\"b\\\\ \\u00e4\"";
    Add(name, good, name == "fault_error" ? good : "\"a \\\"b\\\\ \xc3\xa4\"", {"3", "true", "[]"},
        {});
  }
  void Secret(absl::string_view name, std::string*, absl::string_view) {
    Add(name, "\"s3cret\"", "\"***\"", {"3", "true", "\"***\""}, {});
  }
  void Texts(absl::string_view name, std::vector<std::string>*, absl::string_view) {
    Add(name, "\"a,b c\"", "[\"a\", \"b c\"]", {"3", "true", "[1]", "[[\"a\"]]"}, {});
  }
  void Bool(absl::string_view name, bool* v, absl::string_view) {
    const std::string good = *v ? "false" : "true";
    Add(name, good, good, {"\"true\"", "1", "\"yes\""}, {});
  }
  void Port(absl::string_view name, uint16_t*, absl::string_view) {
    Add(name, "\"4321\"", "4321", {"true", "\"http\"", "1.5", "\"\""},
        {"-1", "65536", "\"65536\"", "9223372036854775807"});
  }
  void Int(absl::string_view name, uint32_t* v, uint32_t min, uint32_t max, absl::string_view) {
    const std::string good = std::to_string(*v == max ? min : max);
    std::vector<std::string> outside = {std::to_string(static_cast<int64_t>(min) - 1),
                                        std::to_string(static_cast<int64_t>(max) + 1),
                                        "9223372036854775807", "-9223372036854775808"};
    Add(name, good, good, {"\"4\"", "true", "1.5", "[1]", "1979-05-27"}, outside);
  }
  void Size(absl::string_view name, uint64_t* v, uint64_t min, uint64_t max, absl::string_view) {
    const uint64_t good = *v == max ? min : max;
    Add(name, std::to_string(good), Quoted(SpellSize(good)),
        {"true", "\"4 parsecs\"", "-1", "1.5", "\"-4KB\""},
        {std::to_string(min - 1), Quoted(SpellSize(max + 1)), std::to_string(max + 1)});
  }
  void Duration(absl::string_view name, absl::Duration* v, absl::Duration min, absl::Duration max,
                absl::string_view) {
    AddTime(name, *v, min, max, {"true", "\"4 parsecs\"", "3", "1.5", "\"-1s\"", "\"3\""});
  }
  void Ttl(absl::string_view name, absl::Duration* v, absl::Duration min, absl::Duration max,
           absl::string_view) {
    AddTime(name, *v, min, max, {"true", "\"4 parsecs\"", "-3", "1.5", "\"inf\""});
    cases_.back().good = "77";
    cases_.back().printed = "\"77s\"";
  }
  void DurationOr(absl::string_view name, std::optional<absl::Duration>*, absl::string_view,
                  absl::Duration min, absl::Duration max, absl::string_view) {
    AddTime(name, max, min, max, {"true", "\"4 parsecs\"", "3", "1.5", "\"-1s\"", "\"3\""});
  }
  template <class Enum, class Spellings>
  void Choice(absl::string_view name, Enum* v, const Spellings& spellings, absl::string_view) {
    const size_t other = (static_cast<size_t>(*v) + 1) % spellings.size();
    Add(name, Quoted(spellings[other]), Quoted(spellings[other]), {"3", "true", "\"nonsense\""},
        {"\"\""});
  }
  template <class S>
  void Section(absl::string_view name, S* section, absl::string_view) {
    section_ = std::string(name);
    section->Visit(*this);
  }
  template <class S>
  void List(absl::string_view name, std::vector<S>*, absl::string_view) {
    S item;
    const std::string outer = section_;
    if (!section_.empty() && section_.back() == ']') {
      section_ += "." + std::string(name) + "[]";
    } else {
      section_ = std::string(name) + "[]";
    }
    item.Visit(*this);
    section_ = outer;
  }

 private:
  void AddTime(absl::string_view name, absl::Duration v, absl::Duration min, absl::Duration max,
               std::vector<std::string> wrong) {
    const std::string good = Quoted(SpellDuration(v == max ? min : max));
    std::vector<std::string> outside = {Quoted(SpellDuration(max + absl::Nanoseconds(1)))};
    if (min > absl::ZeroDuration()) outside.push_back("\"0s\"");
    Add(name, good, good, std::move(wrong), outside);
  }
  void Add(absl::string_view name, std::string good, std::string printed,
           std::vector<std::string> wrong, std::vector<std::string> outside) {
    cases_.push_back({section_, std::string(name), std::move(good), std::move(printed),
                      std::move(wrong), std::move(outside)});
  }

  std::string section_;
  std::vector<Case> cases_;
};

bool IsOfList(const Case& c) { return c.section.back() == ']'; }

// Of a list within a list, the item it is in.
std::string Outer(const Case& c) {
  const size_t dot = c.section.find("[].");
  return dot == std::string::npos ? "" : "[[" + c.section.substr(0, dot) + "]]";
}

std::string Header(const Case& c) {
  const std::string name = absl::StrReplaceAll(c.section, {{"[]", ""}});
  return IsOfList(c) ? "[[" + name + "]]" : "[" + name + "]";
}

// The knob's line is the third.
std::string TextWith(const Case& c, const std::string& name, const std::string& value) {
  const std::string first = Outer(c).empty() ? "# a comment" : Outer(c);
  return first + "\n" + Header(c) + "\n" + name + " = " + value + "\n";
}

std::string PathOf(const Case& c, const std::string& name) {
  return absl::StrReplaceAll(c.section, {{"[]", "[0]"}}) + "." + name;
}

// The table of the tree that has the case's knob, the first of each list.
const Node* TableOf(const Node& root, const Case& c) {
  const Node* node = &root;
  for (const absl::string_view step :
       absl::StrSplit(absl::StrReplaceAll(c.section, {{"[]", ""}}), '.')) {
    node = node->Find(step);
    if (node->kind == Node::Kind::kArray) node = &node->items[0];
  }
  return node;
}

// Fills without the checks across knobs, which validate_test.cc has.
template <class Product>
absl::Status Read(const std::string& text, Product* product) {
  absl::StatusOr<Node> root = ReadText(text, kFile);
  if (!root.ok()) return root.status();
  const std::vector<std::string> names = Names::Of<Product>();
  Reader reader(&*root, &names);
  product->Visit(reader);
  reader.Finish();
  return reader.status();
}

template <class Product>
class Knobs : public testing::Test {
 protected:
  const std::vector<Case> cases_ = CaseMaker::Of<Product>();
};

using Products = testing::Types<MomentoProxy, Segcache, Pingserver, MomentoLocal>;
TYPED_TEST_SUITE(Knobs, Products);

TYPED_TEST(Knobs, AreAllDescribed) {
  const std::vector<Knob> knobs = Describer::Knobs<TypeParam>();
  ASSERT_EQ(knobs.size(), this->cases_.size());
  for (size_t i = 0; i < knobs.size(); ++i) {
    EXPECT_EQ(knobs[i].path, this->cases_[i].section + "." + this->cases_[i].name);
    EXPECT_FALSE(knobs[i].sentence.empty()) << knobs[i].path;
    EXPECT_FALSE(knobs[i].type.empty()) << knobs[i].path;
    EXPECT_THAT(Describe<TypeParam>(), HasSubstr(knobs[i].sentence));
  }
}

TYPED_TEST(Knobs, AreRead) {
  for (const Case& c : this->cases_) {
    TypeParam product;
    const std::string text = TextWith(c, c.name, c.good);
    const absl::Status status = Read(text, &product);
    ASSERT_TRUE(status.ok()) << text << status;
    const std::string printed = Print(product);
    const size_t section = printed.find(Header(c) + "\n");
    ASSERT_NE(section, std::string::npos) << printed;
    const std::string line = "\n" + c.name + " = " + c.printed + "\n";
    const size_t end = std::min(printed.find("\n\n", section), printed.size());
    const std::string lines = printed.substr(section, end - section) + "\n";
    EXPECT_THAT(lines, HasSubstr(line));
    TypeParam defaults;
    if (IsOfList(c)) Read(Outer(c) + "\n" + Header(c) + "\n", &defaults).IgnoreError();
    EXPECT_NE(printed, Print(defaults)) << text;
  }
}

TYPED_TEST(Knobs, MayComeFromTheCommandLine) {
  for (const Case& c : this->cases_) {
    TypeParam from_file, from_set;
    ASSERT_TRUE(Read(TextWith(c, c.name, c.good), &from_file).ok());
    absl::StatusOr<Node> root = ReadText(TextWith(c, c.name, c.good), kFile);
    ASSERT_TRUE(root.ok());
    const Node* value = TableOf(*root, c)->Find(c.name);
    const std::string typed = value->kind == Node::Kind::kString ? value->text : c.good;
    Node empty;
    ASSERT_TRUE(Apply({PathOf(c, c.name), typed, "--set"}, &empty).ok());
    const std::vector<std::string> names = Names::Of<TypeParam>();
    Reader reader(&empty, &names);
    from_set.Visit(reader);
    reader.Finish();
    ASSERT_TRUE(reader.status().ok()) << reader.status();
    EXPECT_EQ(Print(from_set), Print(from_file)) << c.name;
  }
}

TYPED_TEST(Knobs, RefuseTheWrongType) {
  for (const Case& c : this->cases_) {
    for (const std::string& wrong : c.wrong) {
      TypeParam product;
      const absl::Status status = Read(TextWith(c, c.name, wrong), &product);
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << c.name << " = " << wrong;
      EXPECT_THAT(std::string(status.message()),
                  StartsWith(std::string(kFile) + ":3: " + PathOf(c, c.name) + ": "));
      EXPECT_EQ(status.message().find('\n'), absl::string_view::npos);
    }
  }
}

TYPED_TEST(Knobs, RefuseWhatIsOutOfRange) {
  for (const Case& c : this->cases_) {
    for (const std::string& outside : c.outside) {
      TypeParam product;
      const absl::Status status = Read(TextWith(c, c.name, outside), &product);
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << c.name << " = " << outside;
      EXPECT_THAT(std::string(status.message()),
                  StartsWith(std::string(kFile) + ":3: " + PathOf(c, c.name) + ": "));
      EXPECT_THAT(std::string(status.message()), HasSubstr("expected "));
    }
  }
}

TYPED_TEST(Knobs, AreSuggestedToThoseWhoMistype) {
  for (const Case& c : this->cases_) {
    TypeParam product;
    const absl::Status status = Read(TextWith(c, c.name + "x", c.good), &product);
    EXPECT_EQ(status.message(), std::string(kFile) + ":3: " + PathOf(c, c.name) +
                                    "x: unknown key; did you mean \"" + c.name + "\"?");
  }
}

TYPED_TEST(Knobs, PrintedAreReadBackAsTheyWere) {
  // Each section once, every knob in it off its default.
  std::string text, section;
  for (const Case& c : this->cases_) {
    if (c.section != section) text += "\n" + Header(c) + "\n";
    section = c.section;
    const bool secret = c.printed == "\"***\"";
    if (!secret) text += c.name + " = " + c.good + "\n";
  }
  TypeParam product, again;
  ASSERT_TRUE(Read(text, &product).ok()) << text;
  const std::string printed = Print(product);
  ASSERT_TRUE(Read(printed, &again).ok()) << printed;
  EXPECT_EQ(Print(again), printed);
}

}  // namespace
}  // namespace config
