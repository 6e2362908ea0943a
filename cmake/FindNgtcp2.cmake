# SPDX-License-Identifier: Apache-2.0
# ngtcp2 and its BoringSSL crypto helper. Debian builds the helper for GnuTLS
# only, so unless an installed pair is found both static libraries are built,
# once per build folder, from Debian's own source tarball with a pinned SHA-256.
#
# Targets: Ngtcp2::ngtcp2, Ngtcp2::crypto.

set(NATT_NGTCP2_VERSION 1.11.0)
set(NATT_NGTCP2_SHA256 382c15bf66b630f26021631b25b7eb1feac42c67c1d6826189d61091dfaa4d09)
set(NATT_NGTCP2_TARBALL "" CACHE FILEPATH "ngtcp2_${NATT_NGTCP2_VERSION}.orig.tar.xz, where apt cannot fetch it")

function(_natt_fetch_ngtcp2 folder result)
  set(tarball "${folder}/ngtcp2_${NATT_NGTCP2_VERSION}.orig.tar.xz")
  if(NATT_NGTCP2_TARBALL)
    set(tarball "${NATT_NGTCP2_TARBALL}")
  elseif(NOT EXISTS "${tarball}")
    message(STATUS "Fetching the ngtcp2 ${NATT_NGTCP2_VERSION} source tarball with apt-get source")
    execute_process(
      COMMAND apt-get source -q --download-only --tar-only ngtcp2=${NATT_NGTCP2_VERSION}-1~bpo12+1
      WORKING_DIRECTORY "${folder}" OUTPUT_VARIABLE log ERROR_VARIABLE log RESULT_VARIABLE failed)
    if(NOT EXISTS "${tarball}")
      execute_process(COMMAND apt-get source -q --download-only --tar-only ngtcp2
        WORKING_DIRECTORY "${folder}" OUTPUT_VARIABLE log ERROR_VARIABLE log RESULT_VARIABLE failed)
    endif()
    if(NOT EXISTS "${tarball}")
      message(FATAL_ERROR "No ngtcp2 source tarball: run cmake/install_dependencies.sh, or set "
        "NATT_NGTCP2_TARBALL to ngtcp2_${NATT_NGTCP2_VERSION}.orig.tar.xz.\n${log}")
    endif()
  endif()
  file(SHA256 "${tarball}" actual)
  if(NOT actual STREQUAL NATT_NGTCP2_SHA256)
    message(FATAL_ERROR "${tarball} has SHA-256 ${actual}, expected ${NATT_NGTCP2_SHA256}: remove it")
  endif()
  set(${result} "${tarball}" PARENT_SCOPE)
endfunction()

function(_natt_run what)
  execute_process(COMMAND ${ARGN} OUTPUT_VARIABLE log ERROR_VARIABLE log RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "${what} failed:\n${log}")
  endif()
endfunction()

function(_natt_build_ngtcp2 prefix)
  set(folder "${CMAKE_BINARY_DIR}/_ngtcp2")
  file(MAKE_DIRECTORY "${folder}")
  _natt_fetch_ngtcp2("${folder}" tarball)
  message(STATUS "Building ngtcp2 ${NATT_NGTCP2_VERSION} with its BoringSSL helper")
  file(ARCHIVE_EXTRACT INPUT "${tarball}" DESTINATION "${folder}")
  set(source "${folder}/ngtcp2-${NATT_NGTCP2_VERSION}")
  set(flags "")
  if(NATT_SANITIZE)
    set(flags "-fsanitize=address,undefined -fno-sanitize=function")
  endif()
  _natt_run("Configuring ngtcp2" ${CMAKE_COMMAND} -S "${source}" -B "${folder}/build" -G "${CMAKE_GENERATOR}"
    "-DCMAKE_BUILD_TYPE=RelWithDebInfo" "-DCMAKE_C_FLAGS=${flags}"
    "-DCMAKE_C_COMPILER=${CMAKE_C_COMPILER}" "-DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER}"
    -DCMAKE_POSITION_INDEPENDENT_CODE=ON
    -DENABLE_BORINGSSL=ON -DENABLE_OPENSSL=OFF -DENABLE_GNUTLS=OFF
    -DENABLE_SHARED_LIB=OFF -DENABLE_STATIC_LIB=ON -DBUILD_TESTING=OFF
    "-DBORINGSSL_INCLUDE_DIR=${BORINGSSL_INCLUDE_DIR}" "-DBORINGSSL_LIBRARIES=${BORINGSSL_LIBRARIES}"
    "-DCMAKE_INSTALL_PREFIX=${prefix}" -DCMAKE_INSTALL_LIBDIR=lib)
  _natt_run("Building ngtcp2" ${CMAKE_COMMAND} --build "${folder}/build" --target install)
endfunction()

# An installed pair: both libraries have to come from the same place.
find_path(NGTCP2_INCLUDE_DIR ngtcp2/ngtcp2_crypto_boringssl.h)
find_library(NGTCP2_LIBRARY NAMES ngtcp2_static ngtcp2)
find_library(NGTCP2_CRYPTO_LIBRARY NAMES ngtcp2_crypto_boringssl_static ngtcp2_crypto_boringssl)

if(NOT (NGTCP2_INCLUDE_DIR AND NGTCP2_LIBRARY AND NGTCP2_CRYPTO_LIBRARY))
  set(NATT_NGTCP2_BUILT ON CACHE INTERNAL "ngtcp2 was built here and is installed with natt")
  set(_prefix "${CMAKE_BINARY_DIR}/_ngtcp2/prefix")
  if(NOT EXISTS "${_prefix}/lib/libngtcp2_crypto_boringssl.a")
    _natt_build_ngtcp2("${_prefix}")
  endif()
  set(NGTCP2_INCLUDE_DIR "${_prefix}/include" CACHE PATH "" FORCE)
  set(NGTCP2_LIBRARY "${_prefix}/lib/libngtcp2.a" CACHE FILEPATH "" FORCE)
  set(NGTCP2_CRYPTO_LIBRARY "${_prefix}/lib/libngtcp2_crypto_boringssl.a" CACHE FILEPATH "" FORCE)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Ngtcp2
  REQUIRED_VARS NGTCP2_LIBRARY NGTCP2_CRYPTO_LIBRARY NGTCP2_INCLUDE_DIR)

if(Ngtcp2_FOUND AND NOT TARGET Ngtcp2::ngtcp2)
  add_library(Ngtcp2::ngtcp2 UNKNOWN IMPORTED)
  set_target_properties(Ngtcp2::ngtcp2 PROPERTIES
    IMPORTED_LOCATION "${NGTCP2_LIBRARY}" INTERFACE_COMPILE_DEFINITIONS NGTCP2_STATICLIB
    INTERFACE_INCLUDE_DIRECTORIES "${NGTCP2_INCLUDE_DIR}")
  add_library(Ngtcp2::crypto UNKNOWN IMPORTED)
  set_target_properties(Ngtcp2::crypto PROPERTIES
    IMPORTED_LOCATION "${NGTCP2_CRYPTO_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${NGTCP2_INCLUDE_DIR}"
    INTERFACE_LINK_LIBRARIES "Ngtcp2::ngtcp2;BoringSSL::ssl;BoringSSL::crypto")
endif()
mark_as_advanced(NGTCP2_INCLUDE_DIR NGTCP2_LIBRARY NGTCP2_CRYPTO_LIBRARY)
