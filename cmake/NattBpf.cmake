# SPDX-License-Identifier: Apache-2.0
# eBPF programs: C compiled by clang for the bpf machine, whatever compiles the rest, and
# built into a library as an array of octets. Run as a script (-P) this file makes the array.

if(CMAKE_SCRIPT_MODE_FILE)
  file(READ "${INPUT}" octets HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," octets "${octets}")
  string(REGEX REPLACE "(................................................................................)" "\\1\n"
    octets "${octets}")
  file(WRITE "${OUTPUT}" "${octets}\n")
  return()
endif()

set(NATT_BPF_SCRIPT "${CMAKE_CURRENT_LIST_FILE}")
find_program(NATT_BPF_CLANG NAMES clang clang-19 clang-18 clang-17 clang-16 clang-15 clang-14
  DOC "clang for eBPF programs" REQUIRED)

# FOLDER/NAME.bpf.c becomes NAME.bpf.inc in the build folder, the octets of an ELF file for a source of `target` to
# include. DEPENDS are its headers beside it, INCLUDES further folders to look for headers in.
function(natt_target_bpf target name)
  cmake_parse_arguments(ARG "" "FOLDER" "DEPENDS;INCLUDES" ${ARGN})
  set(source "${CMAKE_CURRENT_SOURCE_DIR}/${ARG_FOLDER}/${name}.bpf.c")
  set(object "${CMAKE_CURRENT_BINARY_DIR}/${name}.bpf.o")
  set(array "${CMAKE_CURRENT_BINARY_DIR}/${name}.bpf.inc")
  list(TRANSFORM ARG_DEPENDS PREPEND "${CMAKE_CURRENT_SOURCE_DIR}/${ARG_FOLDER}/")
  list(TRANSFORM ARG_INCLUDES PREPEND "-I")
  # asm/types.h stands in the multiarch folder, which clang does not look into for this machine. v3: atomics that
  # return the value, Linux 5.12. -g is for BTF, which describes the maps.
  add_custom_command(OUTPUT "${object}"
    COMMAND "${NATT_BPF_CLANG}" -target bpf -mcpu=v3 -O2 -g -Wall -Wextra -Werror
      "-ffile-prefix-map=${PROJECT_SOURCE_DIR}=." "-I/usr/include/${CMAKE_LIBRARY_ARCHITECTURE}"
      "-I${CMAKE_CURRENT_SOURCE_DIR}/${ARG_FOLDER}" ${ARG_INCLUDES} -c "${source}" -o "${object}"
    DEPENDS "${source}" ${ARG_DEPENDS} COMMENT "Compiling ${name}.bpf.c" VERBATIM)
  add_custom_command(OUTPUT "${array}"
    COMMAND "${CMAKE_COMMAND}" "-DINPUT=${object}" "-DOUTPUT=${array}" -P "${NATT_BPF_SCRIPT}"
    DEPENDS "${object}" "${NATT_BPF_SCRIPT}" COMMENT "Packing ${name}.bpf.o" VERBATIM)
  target_sources(${target} PRIVATE "${array}")
  target_include_directories(${target} PRIVATE "${CMAKE_CURRENT_BINARY_DIR}")
endfunction()
