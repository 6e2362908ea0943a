# SPDX-License-Identifier: Apache-2.0
# Compiles .proto files into a target. The generated code is not ours to keep
# warning-free: it is compiled without warnings and included as a system header.

function(natt_target_protos target)
  cmake_parse_arguments(ARG "" "FOLDER" "PROTOS" ${ARGN})
  set(generated "${CMAKE_CURRENT_BINARY_DIR}/proto")
  file(MAKE_DIRECTORY "${generated}")
  foreach(name IN LISTS ARG_PROTOS)
    list(APPEND inputs "${CMAKE_CURRENT_SOURCE_DIR}/${ARG_FOLDER}/${name}.proto")
    list(APPEND sources "${generated}/${name}.pb.cc")
    list(APPEND headers "${generated}/${name}.pb.h")
  endforeach()
  add_custom_command(OUTPUT ${sources} ${headers}
    COMMAND protobuf::protoc --cpp_out "${generated}" --proto_path "${CMAKE_CURRENT_SOURCE_DIR}/${ARG_FOLDER}" ${inputs}
    DEPENDS ${inputs} VERBATIM COMMENT "Generating ${target}'s protobuf messages")
  set_source_files_properties(${sources} PROPERTIES COMPILE_OPTIONS -w)
  target_sources(${target} PRIVATE ${sources} ${headers})
  target_include_directories(${target} SYSTEM PRIVATE "${generated}")
  target_link_libraries(${target} PRIVATE protobuf::libprotobuf-lite)
endfunction()
