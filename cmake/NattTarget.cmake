# SPDX-License-Identifier: Apache-2.0
# Warnings, sanitizers and include folders of every target of this project.

set(NATT_WARNINGS
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast
  -Wnon-virtual-dtor -Woverloaded-virtual -Wimplicit-fallthrough)
# Options are aggregates with defaults, set by designated initialisers: leaving members out is their point.
list(APPEND NATT_WARNINGS -Wno-missing-field-initializers)
if(NATT_WERROR)
  list(APPEND NATT_WARNINGS -Werror)
endif()

if(NATT_SANITIZE)
  set(NATT_SANITIZER_FLAGS -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
endif()
if(NATT_BUILD_FUZZERS)
  # Coverage feedback for the libraries under test; the targets add the driver.
  list(APPEND NATT_SANITIZER_FLAGS -fsanitize=fuzzer-no-link)
endif()

function(natt_target_options target)
  target_compile_options(${target} PRIVATE
    "$<$<COMPILE_LANGUAGE:CXX>:${NATT_WARNINGS}>" ${NATT_SANITIZER_FLAGS})
  target_link_options(${target} PRIVATE ${NATT_SANITIZER_FLAGS})
endfunction()

# A static library of this project. EXPORT is its name behind `natt::` and OUTPUT
# the archive's file name (PipeWire owns the name libspa, so ours say natt_).
function(natt_add_library target)
  cmake_parse_arguments(ARG "" "EXPORT;OUTPUT" "SOURCES" ${ARGN})
  add_library(${target} STATIC ${ARG_SOURCES})
  add_library(natt::${ARG_EXPORT} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${ARG_EXPORT} OUTPUT_NAME ${ARG_OUTPUT})
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_include_directories(${target}
    PUBLIC "$<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>" "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>"
    PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
  natt_target_options(${target})
endfunction()

function(natt_add_executable target)
  add_executable(${target} ${ARGN})
  natt_target_options(${target})
endfunction()

# A Catch2 program whose cases become ctest entries labelled with the folder
# they stand in (unit, sim, integration, apps).
function(natt_add_test target)
  cmake_parse_arguments(ARG "" "LABEL" "SOURCES;LIBRARIES" ${ARGN})
  natt_add_executable(${target} ${ARG_SOURCES})
  # Half of a build's time is tests: a quarter less for each without their variables (g++ 12).
  target_compile_options(${target} PRIVATE $<$<CONFIG:RelWithDebInfo>:-g1>)
  target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}" "${PROJECT_SOURCE_DIR}/tests")
  target_link_libraries(${target} PRIVATE ${ARG_LIBRARIES} Catch2::Catch2WithMain)
  # DISCOVERY by program, not by case: a thousand process starts cost minutes under sanitizers.
  add_test(NAME ${target} COMMAND ${target} --order rand)
  set_tests_properties(${target} PROPERTIES LABELS ${ARG_LABEL} TIMEOUT 300)
endfunction()

# A fuzz target: with libFuzzer when NATT_BUILD_FUZZERS, and always as a replay
# of its checked-in corpus (tests/fuzz/corpus/NAME) in the normal tests.
function(natt_add_fuzz_target name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBRARIES" ${ARGN})
  natt_add_executable(replay_${name} ${ARG_SOURCES} "${PROJECT_SOURCE_DIR}/tests/fuzz/replay_main.cc")
  target_link_libraries(replay_${name} PRIVATE ${ARG_LIBRARIES})
  target_include_directories(replay_${name} PRIVATE "${PROJECT_SOURCE_DIR}" "${PROJECT_SOURCE_DIR}/tests")
  add_test(NAME replay_${name} COMMAND replay_${name} "${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name}")
  set_tests_properties(replay_${name} PROPERTIES LABELS fuzz TIMEOUT 120)
  if(NATT_BUILD_FUZZERS)
    natt_add_executable(fuzz_${name} ${ARG_SOURCES})
    target_link_libraries(fuzz_${name} PRIVATE ${ARG_LIBRARIES} -fsanitize=fuzzer)
    target_include_directories(fuzz_${name} PRIVATE "${PROJECT_SOURCE_DIR}" "${PROJECT_SOURCE_DIR}/tests")
  endif()
endfunction()
