// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "apps/nattctl/site_folder.h"
#include "unit/apps/nattctl_fixture.h"
#include "unit/apps/temporary_folder.h"

namespace natt::ctl {
namespace {

using Catch::Matchers::ContainsSubstring;
using test::init_arguments;
using test::TemporaryFolder;

TEST_CASE("site folder: an interrupted run before the commit leaves nothing, after it everything", "[apps][nattctl]") {
  const TemporaryFolder folder;
  const auto dir = folder.path() / "site";
  std::filesystem::create_directory(dir);
  std::filesystem::permissions(dir, std::filesystem::perms(0700));

  SECTION("killed while staging") {
    std::filesystem::create_directory(dir / ".nattctl-staging");
    folder.write("site/.nattctl-staging/ca.key", "half");
    CHECK(run_init(init_arguments(dir)));
    CHECK(folder.read("site/ca.key") != "half");
  }
  SECTION("killed between the commit and the last rename") {
    folder.write("site/ca.key", "old");
    folder.write("site/first", "moved already");
    std::filesystem::create_directory(dir / ".nattctl-commit");
    folder.write("site/.nattctl-commit/ca.key", "new");
    folder.write("site/.nattctl-commit/second", "still to move");
    REQUIRE(SiteFolder::open(dir));
    CHECK(folder.read("site/ca.key") == "new");
    CHECK(folder.read("site/second") == "still to move");
  }
  SECTION("killed when the commit folder was empty but there") {
    folder.write("site/ca.key", "new");
    std::filesystem::create_directory(dir / ".nattctl-commit");
    REQUIRE(SiteFolder::open(dir));
    CHECK(folder.read("site/ca.key") == "new");
  }
  CHECK_FALSE(std::filesystem::exists(dir / ".nattctl-staging"));
  CHECK_FALSE(std::filesystem::exists(dir / ".nattctl-commit"));
}

TEST_CASE("site folder: two nattctl do not work in one folder at once", "[apps][nattctl]") {
  const TemporaryFolder folder;
  const auto dir = folder.path() / "site";
  REQUIRE(run_init(init_arguments(dir)));

  const auto first = SiteFolder::open(dir);
  REQUIRE(first);
  CHECK_THAT(run_revoke(dir, "alice").error().message, ContainsSubstring("another nattctl"));
}

TEST_CASE("site folder: a folder without a site is named", "[apps][nattctl]") {
  const TemporaryFolder folder;

  CHECK_THAT(run_renew(folder.path(), "alice").error().message, ContainsSubstring("holds no site"));
  CHECK_THAT(run_renew(folder.path() / "missing", "alice").error().message, ContainsSubstring("cannot be opened"));
}

TEST_CASE("registrar: damaged files are named", "[apps][nattctl]") {
  const std::string name = GENERATE(as<std::string>{}, "ca.key", "roster", "site", "certificates");
  const std::string content = GENERATE(as<std::string>{}, "garbage", "\n", "name = \"hq\"\n");
  CAPTURE(name, content);
  const TemporaryFolder folder;
  const auto dir = folder.path() / "site";
  REQUIRE(run_init(init_arguments(dir)));
  folder.write("site/" + name, content);

  const auto done = run_revoke(dir, "alice");

  REQUIRE_FALSE(done);
  CHECK_THAT(done.error().message, ContainsSubstring((dir / name).string()));
}

TEST_CASE("registrar: a key file that others may read is refused", "[apps][nattctl]") {
  const TemporaryFolder folder;
  const auto dir = folder.path() / "site";
  REQUIRE(run_init(init_arguments(dir)));
  std::filesystem::permissions(dir / "ca.key", std::filesystem::perms(0640));

  CHECK_THAT(run_revoke(dir, "alice").error().message, ContainsSubstring("ca.key") && ContainsSubstring("chmod 600"));
}

}  // namespace
}  // namespace natt::ctl
