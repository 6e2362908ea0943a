// SPDX-License-Identifier: Apache-2.0
#pragma once

// The keys of one device for one verifier, as tests/lab/knocking.py writes them: lines of `name value`,
// octets in hexadecimal. And what a knock needs beside them.

#include <memory>
#include <optional>
#include <string>

#include <natt/random.h>
#include <natt/spa/knocker.h>

namespace natt::test {

// Nothing when the file lacks a line or a value is wrong.
[[nodiscard]] std::unique_ptr<spa::Knocker> read_knocker(const std::string& path, Random& random);

// A TLS 1.3 ClientHello record that any server answers (RFC 8446 section 4.1.2), without a library.
[[nodiscard]] ByteBuffer make_client_hello(Random& random);

}  // namespace natt::test
