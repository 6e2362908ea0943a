# SPDX-License-Identifier: Apache-2.0
# BoringSSL as Debian ships it (android-libboringssl-dev): headers and shared
# libraries in `android` sub-folders, so the run path has to be set. Never mix it
# with OpenSSL in one process.
#
# Targets: BoringSSL::ssl, BoringSSL::crypto. Variables: BORINGSSL_INCLUDE_DIR,
# BORINGSSL_LIBRARY_DIR, BORINGSSL_LIBRARIES.

find_path(BORINGSSL_INCLUDE_DIR openssl/ssl.h PATH_SUFFIXES android boringssl
  HINTS ENV BORINGSSL_ROOT NO_CMAKE_SYSTEM_PATH PATHS /usr/include /usr/local/include)
find_library(BORINGSSL_SSL_LIBRARY ssl
  PATHS /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/android /usr/lib/android NO_DEFAULT_PATH)
find_library(BORINGSSL_CRYPTO_LIBRARY crypto
  PATHS /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/android /usr/lib/android NO_DEFAULT_PATH)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(BoringSSL
  REQUIRED_VARS BORINGSSL_SSL_LIBRARY BORINGSSL_CRYPTO_LIBRARY BORINGSSL_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "install android-libboringssl-dev (cmake/install_dependencies.sh does)")

if(BoringSSL_FOUND AND NOT TARGET BoringSSL::ssl)
  get_filename_component(BORINGSSL_LIBRARY_DIR "${BORINGSSL_SSL_LIBRARY}" DIRECTORY)
  set(BORINGSSL_LIBRARIES "${BORINGSSL_SSL_LIBRARY};${BORINGSSL_CRYPTO_LIBRARY}")
  foreach(part IN ITEMS crypto ssl)
    string(TOUPPER ${part} upper)
    add_library(BoringSSL::${part} SHARED IMPORTED)
    set_target_properties(BoringSSL::${part} PROPERTIES
      IMPORTED_LOCATION "${BORINGSSL_${upper}_LIBRARY}"
      INTERFACE_INCLUDE_DIRECTORIES "${BORINGSSL_INCLUDE_DIR}"
      INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${BORINGSSL_INCLUDE_DIR}"
      INTERFACE_LINK_OPTIONS "LINKER:-rpath,${BORINGSSL_LIBRARY_DIR}")
  endforeach()
  set_property(TARGET BoringSSL::ssl APPEND PROPERTY INTERFACE_LINK_LIBRARIES BoringSSL::crypto)
endif()
mark_as_advanced(BORINGSSL_INCLUDE_DIR BORINGSSL_SSL_LIBRARY BORINGSSL_CRYPTO_LIBRARY)
