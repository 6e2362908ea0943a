# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` ships: headers, archives, the ngtcp2 archives that were built
# here, programs as natt-NAME, and a package for find_package(natt CONFIG).

include(CMakePackageConfigHelpers)

set(NATT_INSTALL_CMAKEDIR "${CMAKE_INSTALL_LIBDIR}/cmake/natt")
# Not beside other libraries: a distribution's libngtcp2 may live there.
set(NATT_INSTALL_PRIVATEDIR "${CMAKE_INSTALL_LIBDIR}/natt")

install(TARGETS natt_spa natt_spa_gate natt_core natt tunnel_core tunnel EXPORT natt
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(EXPORT natt NAMESPACE natt:: FILE nattTargets.cmake DESTINATION "${NATT_INSTALL_CMAKEDIR}")
foreach(library IN ITEMS libspa libnatt libtunnel)
  install(DIRECTORY "${PROJECT_SOURCE_DIR}/${library}/include/" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
    FILES_MATCHING PATTERN "*.h")
endforeach()

if(NATT_NGTCP2_BUILT)
  install(FILES "${NGTCP2_LIBRARY}" "${NGTCP2_CRYPTO_LIBRARY}" DESTINATION "${NATT_INSTALL_PRIVATEDIR}")
else()
  set(NATT_SYSTEM_NGTCP2 "${NGTCP2_LIBRARY}")
  set(NATT_SYSTEM_NGTCP2_CRYPTO "${NGTCP2_CRYPTO_LIBRARY}")
endif()

configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/nattConfig.cmake.in" "${PROJECT_BINARY_DIR}/nattConfig.cmake"
  INSTALL_DESTINATION "${NATT_INSTALL_CMAKEDIR}" PATH_VARS NATT_INSTALL_PRIVATEDIR)
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/nattConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/nattConfig.cmake" "${PROJECT_BINARY_DIR}/nattConfigVersion.cmake"
  "${PROJECT_SOURCE_DIR}/cmake/FindBoringSSL.cmake" DESTINATION "${NATT_INSTALL_CMAKEDIR}")

# Copied as built: the run path to BoringSSL is part of them. The names are no other package's.
foreach(program IN ITEMS broker gateway client)
  if(TARGET ${program})
    install(PROGRAMS "$<TARGET_FILE:${program}>" DESTINATION "${CMAKE_INSTALL_BINDIR}" RENAME natt-${program})
  endif()
endforeach()
if(TARGET nattctl)
  install(PROGRAMS "$<TARGET_FILE:nattctl>" DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()
