# `cmake --install`: headers, libraries, command, and the package behind find_package(Shoal). The installed tree can be moved as a whole;
# LibTorch and Arrow are found where they were at build time.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(SHOAL_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/Shoal)
set_target_properties(shoal PROPERTIES INSTALL_RPATH "\$ORIGIN/../${CMAKE_INSTALL_LIBDIR};${SHOAL_TORCH_DIR}/lib")
set_target_properties(shoal_flow_library PROPERTIES INSTALL_RPATH ${SHOAL_ARROW_DIR})
set_target_properties(shoal_command PROPERTIES
  INSTALL_RPATH "\$ORIGIN/../${CMAKE_INSTALL_LIBDIR};${SHOAL_TORCH_DIR}/lib;${SHOAL_ARROW_DIR}")
# A file of targets for each component, since who has no Arrow, or no LibTorch, can use one of them.
install(TARGETS shoal EXPORT Shoal_shoal LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS shoal_flow_library EXPORT Shoal_flow LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS shoal_command shoal_device RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/shoal DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
foreach(component shoal flow)
  install(EXPORT Shoal_${component} NAMESPACE Shoal:: DESTINATION ${SHOAL_PACKAGE_DIR})
endforeach()

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/ShoalConfig.cmake.in ${PROJECT_BINARY_DIR}/ShoalConfig.cmake
  INSTALL_DESTINATION ${SHOAL_PACKAGE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/ShoalConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_LIST_DIR}/LibTorch.cmake ${CMAKE_CURRENT_LIST_DIR}/Arrow.cmake ${PROJECT_BINARY_DIR}/ShoalConfig.cmake
  ${PROJECT_BINARY_DIR}/ShoalConfigVersion.cmake DESTINATION ${SHOAL_PACKAGE_DIR})
